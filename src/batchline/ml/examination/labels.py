"""Find the class names of a classifier: in a label file, or in the model and its outputs."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batchline.errors import ConfigurationError
from batchline.ml.outputs import is_zipmap
from batchline.ml.session import first_line

Names = tuple[str, ...]


Labels = Names | None


InFile = Callable[[int], set[Names]]

SLACK = 0.001
"""How far rounded probabilities may be outside 0…1, and each of them from a sum of 1."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Return labels in class order from a JSON list, or from an object from index to label.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            stored = [stored[str(index)] for index in range(len(stored))]
    except OSError as error:
        raise ConfigurationError(
            f"the label file {path} cannot be read: {error.strerror}",
            hint="name a JSON file as LABEL_FILEPATH or --labels, or leave it out",
        ) from error
    except KeyError as error:
        raise _bad_labels(path, f"index {error} is missing, and indexes count from 0") from error
    except (ValueError, RecursionError) as error:
        raise _bad_labels(path, f"it is not JSON: {first_line(error)}") from error
    if not isinstance(stored, list) or not all(isinstance(label, str) for label in stored):
        raise _bad_labels(path, "it is not a list of names")
    if len(set(stored)) != len(stored):
        raise _bad_labels(path, "a name appears twice")
    if any(not label.isprintable() for label in stored):
        raise _bad_labels(path, "a name has characters that cannot be printed")
    return tuple(stored)


def _bad_labels(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the label file {path} cannot be used: {problem}",
        hint='write it as {"0": "setosa", "1": "versicolor", …} or ["setosa", "versicolor", …]',
    )


@dataclass(frozen=True, slots=True)
class Classes:
    """The class names of a classifier, and the index of the output with their probabilities."""

    names: Names
    output: int


def find_classes(
    outputs: Sequence[Any], labels: Labels, in_file: InFile, wanted: int | None = None
) -> Classes | None:
    """Return the classes whose probabilities are in these outputs of many rows, or None.

    Args:
        labels: the labels of a label file, which must fit.
        in_file: returns all lists of so many class labels in the model's file.
        wanted: the index of the output that the user says has the probabilities.

    Raises:
        ConfigurationError: the labels do not fit, or the output has no probabilities.
    """
    found = _probability_outputs(outputs)
    if wanted is not None:
        _check_wanted(wanted, found)
        found = [wanted]
    if len(found) != 1:
        if labels is not None:
            raise _no_probabilities(labels, found)
        return None
    probabilities = outputs[found[0]]
    own = _own_names(probabilities, outputs, in_file)
    names = own if labels is None else labels
    if labels is not None:
        _check_labels(labels, own, probabilities)
    return None if names is None else Classes(names, found[0])


def has_unnamed_classes(outputs: Sequence[Any], classes: Classes | None) -> bool:
    """Whether there are labels and probabilities that cannot be matched."""
    has_probabilities = bool(_probability_outputs(outputs))
    return classes is None and has_probabilities and _label_output(outputs) is not None


def _probability_outputs(outputs: Sequence[Any]) -> list[int]:
    """Return the outputs whose numbers lie in 0…1 and sum to 1 on every row that was tried."""
    zipmaps = [index for index, output in enumerate(outputs) if is_zipmap(output)]
    candidates = zipmaps or [
        index
        for index, output in enumerate(outputs)
        if isinstance(output, np.ndarray)
        and output.ndim == 2
        and output.shape[1] > 1
        and output.dtype.kind == "f"
    ]
    return [index for index in candidates if _are_probabilities(outputs[index])]


def _are_probabilities(output: Any) -> bool:
    rows = [list(row.values()) for row in output] if is_zipmap(output) else output
    numbers = np.asarray(rows, dtype=float)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    inside = ((numbers >= -SLACK) & (numbers <= 1 + SLACK)).all()
    sums = np.abs(numbers.sum(axis=1) - 1) <= SLACK * numbers.shape[1]
    return bool(len(numbers) and inside and sums.all())


def _check_wanted(wanted: int, found: Sequence[int]) -> None:
    if wanted not in found:
        raise ConfigurationError(
            "the output that --probabilities names has no probabilities: on some rows its numbers "
            "do not lie in 0…1 or do not sum to 1",
            hint="name another output, or leave --probabilities out",
        )


def _no_probabilities(labels: Names, found: Sequence[int]) -> ConfigurationError:
    if found:
        return ConfigurationError(
            f"the label file has {len(labels)} labels, but {len(found)} outputs have probabilities",
            hint="say which one is meant with --probabilities NAME",
        )
    return ConfigurationError(
        f"the label file has {len(labels)} labels, but the model gives no probabilities",
        hint="leave the label file out, or export the model with its probabilities",
    )


def _check_labels(labels: Names, own: Labels, probabilities: Any) -> None:
    if _has_text_names(probabilities) and labels != own:
        raise ConfigurationError(
            "the label file has other names than the model, which calls its classes "
            f"{', '.join(own or ())}",
            hint="leave the label file out",
        )
    classes = _class_count(probabilities)
    if classes != len(labels):
        raise ConfigurationError(
            f"the label file has {len(labels)} labels, but the model gives {classes} probabilities",
            hint="name each class once, or leave the label file out",
        )


def _class_count(probabilities: Any) -> int:
    return len(probabilities[0]) if is_zipmap(probabilities) else probabilities.shape[1]


def _has_text_names(probabilities: Any) -> bool:
    return is_zipmap(probabilities) and any(isinstance(key, str) for key in probabilities[0])


def _own_names(probabilities: Any, outputs: Sequence[Any], in_file: InFile) -> Labels:
    """Return a ZipMap's own names, those in the file that the label output confirms, or indexes."""
    if is_zipmap(probabilities):
        return tuple(str(key) for key in probabilities[0])
    labels = _label_output(outputs)
    if labels is None:
        return None
    highest = probabilities.argmax(axis=1)
    candidates = in_file(probabilities.shape[1])
    if not candidates:
        are_indexes = labels.dtype.kind in "iu" and bool((labels == highest).all())
        return tuple(map(str, range(probabilities.shape[1]))) if are_indexes else None
    seen = _names_of_columns(highest, labels)
    fitting = [
        names
        for names in candidates
        if len(set(names)) == len(names)
        and all(names[column] == name for column, name in seen.items())
    ]
    return fitting[0] if len(fitting) == 1 else None


def _label_output(outputs: Sequence[Any]) -> Any:
    """Return the output with a label per row, or None."""
    for output in outputs:
        if isinstance(output, np.ndarray) and output.ndim == 1 and output.dtype.kind in "iuOU":
            return output
    return None


def _names_of_columns(highest: Any, labels: Any) -> dict[int, str]:
    """Return for each column that is the highest somewhere the most frequent label then."""
    seen: dict[int, Counter[str]] = {}
    for column, label in zip(highest.tolist(), labels.tolist(), strict=True):
        seen.setdefault(column, Counter())[str(label)] += 1
    return {column: counted.most_common(1)[0][0] for column, counted in seen.items()}
