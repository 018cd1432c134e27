"""The options about a model file, which several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchline.ml.examination.report import Choices

File = Annotated[
    str, typer.Argument(metavar="FILE", help="Path of an ONNX file or an MLflow model, or a URL.")
]


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Model file", **more)


Labels = Annotated[
    Path | None, _option(help="Name the classes with a JSON file: index to name, or a list.")
]
Sample = Annotated[
    Path | None,
    _option(help="Validate it with rows from this file, as in POST /predict."),
]
Probabilities = Annotated[
    str | None, _option(metavar="OUTPUT", help="Take the probabilities from this output.")
]
RowsAxis = Annotated[
    str | None,
    _option(metavar="AXIS", help="Find the rows along this axis: a number, a name, or none."),
]
Activate = Annotated[
    bool, typer.Option(help="Predict with it from now on, as a first version always does.")
]
AllowNonFinite = Annotated[
    bool, _option("--allow-non-finite", help="Write NaN and infinity as strings.")
]
Features = Annotated[
    str | None,
    _option(
        metavar="NAMES",
        help="Name the values of a row, separated by commas, or by the header of a CSV file.",
    ),
]
Missing = Annotated[
    list[str] | None,
    _option(metavar="NAMES", help="Accept null for these features, or all."),
]
NoMissing = Annotated[
    list[str] | None,
    _option(metavar="NAMES", help="Reject null for these features, or all."),
]
MissingText = Annotated[
    list[str] | None,
    _option(
        metavar="TEXT",
        help="Pass this to the model for null in string inputs. NAME=TEXT: in this input.",
    ),
]


def read_sample(sample: Path | None) -> tuple[str, bytes] | None:
    """Return the name and the content of the sample file, if there is one."""
    if sample is None:
        return None
    from batchline.registry import files

    return files.read_sample(sample)


def read_choices(
    features: Features,
    missing: Missing,
    no_missing: NoMissing,
    missing_text: MissingText,
    probabilities: Probabilities,
    rows_axis: RowsAxis,
    allow_non_finite: AllowNonFinite,
) -> "Choices":
    """Return the options about a model and the values of its rows."""
    from batchline.ml.examination.feature_names import read_features, split_names
    from batchline.ml.examination.report import Choices

    return Choices(
        features=None if features is None else read_features(features),
        missing=tuple(name for text in missing or () for name in split_names(text)),
        no_missing=tuple(name for text in no_missing or () for name in split_names(text)),
        missing_text=tuple(missing_text or ()),
        allow_non_finite=allow_non_finite,
        probabilities=probabilities,
        rows_axis=rows_axis,
    )
