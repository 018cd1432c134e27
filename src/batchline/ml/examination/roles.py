"""Find the roles of a classifier's outputs: its label, its probabilities, and the class names.

Nothing is guessed: a role comes from the graph or from the user, and the rows that were tried must
confirm it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchline.errors import ConfigurationError
from batchline.ml.examination.label_file import Names
from batchline.ml.examination.onnx_file import Graph
from batchline.ml.examination.sources import Role, Source, class_labels, is_computed_with, source_of
from batchline.ml.outputs import is_zipmap
from batchline.ml.signature import NO_LABEL

SLACK = 0.001
"""How far rounded probabilities may be outside 0…1, and each of them from a sum of 1."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The outputs with the label and with the probabilities, and the names of the classes.

    `own_names` are the values of the label output in the order of the classes.
    """

    label: str | None = None
    probabilities: str | None = None
    names: Names | None = None
    own_names: Names | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """The outputs for the rows that were tried, by name, with what the graph says of them."""

    outputs: Mapping[str, Any]
    graph: Graph

    def source(self, name: str) -> Source | None:
        return source_of(self.graph, name)

    def has_role(self, name: str, role: Role) -> bool:
        source = self.source(name)
        return source is not None and source.role is role


def find_roles(tried: Tried, labels: Names | None, wanted: str | None = None) -> Roles:
    """Return the roles of the outputs of many rows.

    Args:
        labels: the labels of a label file, which must fit.
        wanted: the output that the user says has the probabilities.

    Raises:
        ConfigurationError: the labels do not fit, or the output has no probabilities.
    """
    found = _probability_outputs(tried)
    if wanted is not None:
        _check_wanted(wanted, found)
        found = [wanted]
    if len(found) != 1:
        if labels is not None:
            raise _no_probabilities(labels, found)
        return Roles(label=_known_label(tried))
    probabilities = tried.outputs[found[0]]
    own = _own_names(found[0], tried)
    if labels is not None:
        _check_labels(labels, own, probabilities)
        own = own or tuple(map(str, range(len(labels))))
    names = own if labels is None else labels
    if names is None or own is None:
        return Roles(label=_known_label(tried), note=_unnamed(tried))
    label = _label_output(tried, found[0], own, names)
    if label is None and any(map(_is_label, tried.outputs.values())):
        label = NO_LABEL  # one of these outputs may be the label, so the highest is no answer
    elif label is not None and own != names and _has_values(tried.outputs[label], names):
        own = names  # the label output gives the names of the label file itself
    return Roles(label, found[0], names, own)


def _unnamed(tried: Tried) -> str:
    if any(map(_is_label, tried.outputs.values())):
        return "the labels cannot be matched to the probabilities; name them with --labels FILE"
    return ""


def _known_label(tried: Tried) -> str | None:
    """Return the only output that the graph says is the label of a classifier, or None."""
    known = [
        name
        for name, output in tried.outputs.items()
        if _is_label(output) and tried.has_role(name, Role.LABEL)
    ]
    return known[0] if len(known) == 1 else None


def _label_output(tried: Tried, probabilities: str, own: Names, names: Names) -> str | None:
    """Return the output with the classifier's own label, or None: its values are always classes.

    Integers may be classes by chance. So the graph or the output's name must say that it is the
    label, or it must be computed from what the probabilities come from and have the highest one on
    every row.
    """
    fitting = [
        name
        for name, output in tried.outputs.items()
        if _is_label(output) and (_has_values(output, own) or _has_values(output, names))
    ]
    highest = [own[column] for column in _highest(tried.outputs[probabilities])]
    for choice in (
        [name for name in fitting if tried.has_role(name, Role.LABEL)],
        [name for name in fitting if "label" in name.lower()],
        [
            name
            for name in fitting
            if _values(tried.outputs[name]) == highest
            and is_computed_with(tried.graph, name, probabilities)
        ],
    ):
        if len(choice) == 1:
            return choice[0]
    return None


def _has_values(output: Any, names: Names) -> bool:
    return set(_values(output)) <= set(names)


def _values(output: Any) -> list[str]:
    flat = np.ravel(output)
    return list(map(str, (flat.astype(int) if flat.dtype.kind == "b" else flat).tolist()))


def _is_label(output: Any) -> bool:
    """Whether there is one integer, boolean or string per row."""
    if not isinstance(output, np.ndarray) or output.dtype.kind not in "iubOU":
        return False
    return output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)


def _probability_outputs(tried: Tried) -> list[str]:
    """Return the outputs with numbers in 0…1 that sum to 1 on every row that was tried.

    If the graph says that some of them are a classifier's, return only those.
    """
    possible = [
        name for name, output in tried.outputs.items() if is_zipmap(output) or _is_matrix(output)
    ]
    found = [name for name in possible if _are_probabilities(tried.outputs[name])]
    known = [name for name in found if tried.has_role(name, Role.SCORES)]
    return known or found


def _is_matrix(output: Any) -> bool:
    is_array = isinstance(output, np.ndarray) and output.ndim == 2
    return is_array and output.shape[1] > 1 and output.dtype.kind == "f"


def _are_probabilities(output: Any) -> bool:
    numbers = _matrix(output)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    inside = ((numbers >= -SLACK) & (numbers <= 1 + SLACK)).all()
    sums = np.abs(numbers.sum(axis=1) - 1) <= SLACK * numbers.shape[1]
    return bool(len(numbers) and inside and sums.all())


def _matrix(output: Any) -> Any:
    rows = [list(row.values()) for row in output] if is_zipmap(output) else output
    return np.asarray(rows, dtype=float)


def _highest(probabilities: Any) -> list[int]:
    found: list[int] = _matrix(probabilities).argmax(axis=1).tolist()
    return found


def _own_names(name: str, tried: Tried) -> Names | None:
    """Return the model's own names of the classes for this output with probabilities.

    The graph has them at the label output, or at the classifier or the ZipMap before this output. A
    list in the graph that the label output confirms has them, too, and so have indexes if the label
    is the index of the highest probability on every row.
    """
    output = tried.outputs[name]
    count = _matrix(output).shape[1]
    labels = {
        other: _values(each)
        for other, each in tried.outputs.items()
        if _is_label(each) and is_computed_with(tried.graph, other, name)
    }
    sources = [tried.source(other) for other in (*labels, name)]
    stated = [source.names for source in sources if source is not None]
    if is_zipmap(output):
        stated.append(tuple(map(str, output[0])))
    if any(stated):
        fitting = [names for names in stated if len(set(names)) == len(names) == count]
        if labels:
            seen = list(map(set, labels.values()))
            fitting = [names for names in fitting if any(each <= set(names) for each in seen)]
        return fitting[0] if fitting else None
    return _confirmed(tried, count, _highest(output), list(labels.values()))


def _confirmed(
    tried: Tried, count: int, highest: Sequence[int], labels: Sequence[Sequence[str]]
) -> Names | None:
    """Return the list of class labels in the graph that a label output confirms, or indexes."""
    candidates = {names for names in class_labels(tried.graph, count) if len(set(names)) == count}
    if not candidates:
        are_indexes = any(list(each) == list(map(str, highest)) for each in labels)
        return tuple(map(str, range(count))) if are_indexes else None
    fitting = [
        names for names in candidates if any(_confirms(each, highest, names) for each in labels)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _confirms(labels: Sequence[str], highest: Sequence[int], names: Names) -> bool:
    """Whether the most frequent label of the rows with the same highest column is its name."""
    seen: dict[int, Counter[str]] = {}
    for column, label in zip(highest, labels, strict=True):
        seen.setdefault(column, Counter())[label] += 1
    return all(names[at] == counted.most_common(1)[0][0] for at, counted in seen.items())


def _check_wanted(wanted: str, found: Sequence[str]) -> None:
    if wanted not in found:
        raise ConfigurationError(
            f"the output {wanted} has no probabilities: on some rows its numbers do not lie in 0…1 "
            "or do not sum to 1",
            hint="name another output, or leave --probabilities out",
        )


def _no_probabilities(labels: Names, found: Sequence[str]) -> ConfigurationError:
    if found:
        return ConfigurationError(
            f"the label file has {len(labels)} labels, but {len(found)} outputs have probabilities",
            hint=f"name one of them: --probabilities {found[0]}",
        )
    return ConfigurationError(
        f"the label file has {len(labels)} labels, but the model gives no probabilities",
        hint="leave the label file out, or export the model with its probabilities",
    )


def _check_labels(labels: Names, own: Names | None, probabilities: Any) -> None:
    if _has_text_names(probabilities) and labels != own:
        raise ConfigurationError(
            "the label file has other names than the model, which calls its classes "
            f"{', '.join(own or ())}",
            hint="leave the label file out",
        )
    classes = _matrix(probabilities).shape[1]
    if classes != len(labels):
        raise ConfigurationError(
            f"the label file has {len(labels)} labels, but the model gives {classes} probabilities",
            hint="name each class once, or leave the label file out",
        )


def _has_text_names(probabilities: Any) -> bool:
    return is_zipmap(probabilities) and any(isinstance(key, str) for key in probabilities[0])
