"""The options about a model file, which several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchline.ml.examination.report import Choices

MODEL_FILE = "Model file"


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=MODEL_FILE, **more)


@dataclass(frozen=True)
class ModelFileOptions:
    """The options about a model file."""

    labels: Annotated[
        Path | None, _option(help="Name the classes with a JSON file: index to name, or a list.")
    ] = None
    sample: Annotated[
        Path | None, _option(help="Validate it with rows from this file, as in POST /predict.")
    ] = None
    missing: Annotated[
        list[str] | None, _option(metavar="NAMES", help="Accept null for these features, or all.")
    ] = None
    no_missing: Annotated[
        list[str] | None, _option(metavar="NAMES", help="Reject null for these features, or all.")
    ] = None
    missing_text: Annotated[
        list[str] | None,
        _option(
            metavar="TEXT",
            help="Pass this to the model for null in string inputs. NAME=TEXT: in this input.",
        ),
    ] = None
    probabilities: Annotated[
        str | None, _option(metavar="OUTPUT", help="Take the probabilities from this output.")
    ] = None
    rows_axis: Annotated[
        str | None,
        _option(metavar="AXIS", help="Find the rows along this axis: a number, a name, or none."),
    ] = None
    allow_non_finite: Annotated[
        bool, _option("--allow-non-finite", help="Write NaN and infinity as strings.")
    ] = False

    def choices(self, features: str | None) -> "Choices":
        """Return what they say about a model. The values of a row have the names of `features`."""
        from batchline.ml.examination.feature_names import read_features, split_names
        from batchline.ml.examination.report import Choices

        return Choices(
            features=None if features is None else read_features(features),
            missing=tuple(name for text in self.missing or () for name in split_names(text)),
            no_missing=tuple(name for text in self.no_missing or () for name in split_names(text)),
            missing_text=tuple(self.missing_text or ()),
            allow_non_finite=self.allow_non_finite,
            probabilities=self.probabilities,
            rows_axis=self.rows_axis,
        )

    def read_sample(self) -> tuple[str, bytes] | None:
        """Return the name and the content of the sample file, if there is one."""
        if self.sample is None:
            return None
        from batchline.registry import files

        return files.read_sample(self.sample)
