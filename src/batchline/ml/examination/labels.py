"""Find the class names of a classifier: in a label file, or in the model and its outputs."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from batchline.errors import ConfigurationError
from batchline.ml.outputs import find_probabilities, is_zipmap
from batchline.ml.session import first_line

Names = tuple[str, ...]


Labels = Names | None


InFile = Callable[[int], set[Names]]


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


def class_names(outputs: Sequence[Any], labels: Labels, in_file: InFile) -> Labels:
    """Return the names for the probabilities in these outputs of many rows, or None.

    Args:
        labels: the labels of a label file, which must fit.
        in_file: returns all lists of so many labels in the model's file.

    Raises:
        ConfigurationError: the labels do not fit.
    """
    probabilities = find_probabilities(outputs)
    own = None if probabilities is None else _own_names(probabilities, outputs, in_file)
    if labels is None:
        return own
    if probabilities is not None and _has_text_names(probabilities) and labels != own:
        raise ConfigurationError(
            "the label file has other names than the model, which calls its classes "
            f"{', '.join(own or ())}",
            hint="leave the label file out",
        )
    classes = None if probabilities is None else _class_count(probabilities)
    if classes != len(labels):
        raise ConfigurationError(
            f"the label file has {len(labels)} labels, but the model gives "
            f"{classes or 'no'} probabilities",
            hint="name each class once, or leave the label file out",
        )
    return labels


def has_unnamed_classes(outputs: Sequence[Any], names: Labels) -> bool:
    """Whether there are labels and probabilities that cannot be matched."""
    return (
        names is None and find_probabilities(outputs) is not None and _answers(outputs) is not None
    )


def _class_count(probabilities: Any) -> int:
    return len(probabilities[0]) if is_zipmap(probabilities) else probabilities.shape[1]


def _has_text_names(probabilities: Any) -> bool:
    return is_zipmap(probabilities) and any(isinstance(key, str) for key in probabilities[0])


def _own_names(probabilities: Any, outputs: Sequence[Any], in_file: InFile) -> Labels:
    """Return a ZipMap's own names, or those in the file that the label output confirms."""
    if is_zipmap(probabilities):
        return tuple(str(key) for key in probabilities[0])
    answers = _answers(outputs)
    if answers is None:
        return None
    seen = _names_of_columns(probabilities, answers)
    classes = probabilities.shape[1]
    candidates = in_file(classes) or {tuple(map(str, range(classes)))}
    fitting = [
        names
        for names in candidates
        if len(set(names)) == classes
        and all(names[column] == name for column, name in seen.items())
    ]
    return fitting[0] if len(fitting) == 1 else None


def _answers(outputs: Sequence[Any]) -> Any:
    """Return the output with a label per row, or None."""
    for output in outputs:
        if isinstance(output, np.ndarray) and output.ndim == 1 and output.dtype.kind in "iuOU":
            return output
    return None


def _names_of_columns(probabilities: Any, answers: Any) -> dict[int, str]:
    """Return for each column that is the highest somewhere the most frequent label then."""
    seen: dict[int, Counter[str]] = {}
    for column, answer in zip(probabilities.argmax(axis=1), answers.tolist(), strict=True):
        seen.setdefault(int(column), Counter())[str(answer)] += 1
    return {column: counted.most_common(1)[0][0] for column, counted in seen.items()}
