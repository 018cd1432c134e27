"""Find the names of a row's values: given by the user, by MLflow, or in the file's metadata.

No exporter writes them into an ONNX file by itself. People put them into its metadata, as a JSON
list or separated by commas, mostly under the key `feature_names`.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchline.errors import ConfigurationError
from batchline.ml.features import has_any_width, row_width
from batchline.ml.inputs import Input, shape_text
from batchline.ml.regular_file import regular

Names = tuple[str, ...]

METADATA_KEYS = ("feature_names", "feature_columns")

ANY_NUMBER = (
    "rows of {} may have any number of values. If the model takes a fixed number of them, name "
    "them with --features, so that other rows are rejected"
)


@dataclass(frozen=True, slots=True)
class FeatureNames:
    """The names of the values of a row, if they are known, and a note for people."""

    names: Names | None = None
    note: str = ""


def split_names(text: str) -> Names:
    """Return names that are separated by commas. A name with a comma is in double quotes.

    Raises:
        ConfigurationError: a quote is not closed.
    """
    try:
        [names] = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise ConfigurationError(
            f"{text[:80]!r} is not a list of names", hint="separate names by commas: age,income"
        ) from error
    return tuple(name.strip() for name in names)


def read_features(text: str) -> Names:
    """Return the names of `--features`: separated by commas, or the first line of a CSV file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if not text.lower().endswith(".csv"):
        return split_names(text)
    try:
        with regular(Path(text)).open(encoding="utf-8-sig", newline="") as file:
            return split_names(file.readline().rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"the features cannot be read from {text}: {reason}",
            hint="name a CSV file with a header, or the features themselves: --features age,income",
        ) from error


def find_feature_names(
    inputs: Sequence[Input],
    chosen: Names | None,
    columns: Names | None,
    metadata: Mapping[str, str],
) -> FeatureNames:
    """Return the names of the values of a row, if there is one input with rows `[n]`.

    Args:
        chosen: the names that the user gave, which must fit.
        columns: the columns in the signature of an MLflow model.
        metadata: the properties in the ONNX file.

    Raises:
        ConfigurationError: the names of the user do not fit.
    """
    width = row_width(inputs[0]) if len(inputs) == 1 else None
    if chosen is not None:
        _check_chosen(chosen, inputs, width)
        return FeatureNames(chosen, "the features are named by --features")
    if columns is not None:
        return _of_mlflow(columns, inputs, width)
    if width is not None:
        return _of_metadata(metadata, width)
    if len(inputs) == 1 and has_any_width(inputs[0]):
        return FeatureNames(note=ANY_NUMBER.format(inputs[0].name))
    return FeatureNames()


def _check_chosen(names: Names, inputs: Sequence[Input], width: int | None) -> None:
    if len(inputs) > 1:
        raise ConfigurationError(
            f"features name the values of one input, but the model has {len(inputs)} inputs: "
            f"{', '.join(each.name for each in inputs)}",
            hint="leave the names of features out, and use those of the inputs",
        )
    if width is None:
        raise ConfigurationError(
            f"features name the values of rows [n], but rows of the input {inputs[0].name} have "
            f"the shape {shape_text(inputs[0].shape)}",
            hint="leave the names of features out",
        )
    if len(names) != width:
        raise ConfigurationError(
            f"expected {width} names of features, one for each value of a row, got {len(names)}",
            hint="name the columns that the model was trained with, in their order",
        )
    if problem := _problem(names):
        raise ConfigurationError(
            f"the list of features {problem}", hint="give each feature a name of its own"
        )


def _problem(names: Names) -> str:
    """Return what is wrong with names, or ""."""
    for name in names:
        if not name or not name.isprintable():
            return f"has the name {name!r}, which is empty or cannot be printed"
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    return f"has the name {twice[0]} twice" if twice else ""


def _of_mlflow(columns: Names, inputs: Sequence[Input], width: int | None) -> FeatureNames:
    names = [each.name for each in inputs]
    if len(inputs) > 1:
        if set(columns) == set(names):
            return FeatureNames()
        return FeatureNames(
            note=f"MLmodel has the columns {', '.join(columns)}, but the inputs of the model are "
            f"{', '.join(names)}"
        )
    if width is None or columns == tuple(names):
        return FeatureNames()
    if len(columns) != width:
        count = f"{len(columns)} column{'' if len(columns) == 1 else 's'}"
        note = f"MLmodel names {count}, but a row has {width} values, so they are not used"
        return FeatureNames(note=note)
    if problem := _problem(columns):
        return FeatureNames(note=f"the columns in MLmodel are not used: MLmodel {problem}")
    return FeatureNames(columns, "the features are named by the signature in MLmodel")


def _of_metadata(metadata: Mapping[str, str], width: int) -> FeatureNames:
    for key in METADATA_KEYS:
        names = _parsed(metadata.get(key, ""))
        if names is not None and len(names) == width and not _problem(names):
            return FeatureNames(names, f"the features are named by {key} in the file's metadata")
    return FeatureNames()


def _parsed(text: str) -> Names | None:
    """Return names from a JSON list of strings, or separated by commas, or None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = [name.strip() for name in text.split(",")] if text.strip() else None
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return tuple(found)
    return None
