"""Write `docs/reference/model-kinds.md`: what is served of each kind of model, or why it is not.

Needs the development extra:

    .venv/bin/python -m scripts.model_kinds
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from onnx import TensorProto

from batchline.errors import ConfigurationError
from batchline.ml.examination.examine import examine
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.features import features_of
from batchline.registry.files import read_content
from scripts import example_models
from tests import models

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "model-kinds.md"

Make = Callable[[Path], Path]


def exported(make: Callable[[], bytes]) -> Make:
    """Return a function that writes a model of `example_models` into a file."""

    def write(path: Path) -> Path:
        path.write_bytes(make())
        return path

    return write


def tracking(*tracks: int) -> Make:
    """Return a function that writes trees, of which each tracks missing values or does not."""
    return lambda path: models.tracking(path, *tracks)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model, how to make one, and the options with which it is added."""

    what: str
    make: Make
    rows_axis: str | None = None
    missing: str | None = None

    @property
    def choices(self) -> Choices:
        return Choices(rows_axis=self.rows_axis, missing=(self.missing,) if self.missing else ())

    @property
    def options(self) -> str:
        given = {"--rows-axis": self.rows_axis, "--missing": self.missing}
        return "".join(f", with `{name} {value}`" for name, value in given.items() if value)


KINDS = [
    Kind("Classifier with labels and probabilities", exported(example_models.svc)),
    Kind("The same with a ZipMap", exported(example_models.svc_zipmap)),
    Kind("Regressor", exported(example_models.boosting)),
    Kind("Text classifier", exported(example_models.tfidf)),
    Kind("LightGBM", exported(example_models.gradient_boosted_trees)),
    Kind("Probabilities without a label or class names", exported(example_models.convolution)),
    Kind("Several inputs and outputs", exported(example_models.two_by_two)),
    Kind("Rows of any length", exported(example_models.sequences)),
    Kind("Dynamically quantized", exported(example_models.quantized)),
    Kind("A sequence of tensors, each with all rows", models.with_listed_output),
    Kind("An output that is the same in every call", models.with_constant_output),
    Kind("`[seq, batch, 3]`: the batch dimension is second", models.sequence_first),
    Kind(
        "`[?, ?, 3]`: sequence first, without names",
        partial(models.sequence_first, steps="", batch=""),
    ),
    Kind("The same", partial(models.sequence_first, steps="", batch=""), "1"),
    Kind("Tokens `[batch, seq]` and positions `[seq]`", models.with_positions),
    Kind("A picture `[height, width, 3]`", models.picture),
    Kind("The same", models.picture, "none"),
    Kind("`[n, 2]`, centered over all rows of the call", models.centered),
    Kind("The same", models.centered, "0"),
    Kind("A sum over all rows of the call", models.summing),
    Kind("`[3, 2]`: a batch of fixed size", models.fixed_batch),
    Kind("`[3, 2]`: a running sum, which is no batch", models.fixed_batch_that_mixes),
    Kind("`[1, 2]`: exactly one row", models.one_by_one),
    Kind("Numbers without any axis", models.of_scalars),
    Kind("float16, rounded differently next to other rows", models.half_precision),
    Kind("bfloat16 output", partial(models.giving, kind=TensorProto.BFLOAT16)),
    Kind("float8 output", partial(models.giving, kind=TensorProto.FLOAT8E4M3FN)),
    Kind("Input of an unknown rank", models.without_a_shape),
    Kind("Input of sequences", models.of_sequences),
    Kind("An axis of size 0", lambda path: models.of_shape(path, "n", 0)),
    Kind(
        "A row that no request can hold", lambda path: models.of_shape(path, "n", 100_000, 100_000)
    ),
    Kind("A prediction that is too large", partial(models.repeating, times=10_000_000)),
    Kind("Imputer for two of three named columns of numbers", models.imputing),
    Kind("Imputer and a linear model", exported(example_models.imputed)),
    Kind("Trees that track missing values of two of three values", tracking(1, 0, 1)),
    Kind("Trees that track none", tracking(0, 0, 0)),
    Kind("The same", tracking(0, 0, 0), missing="all"),
    Kind("Noise or dropout in the model", models.by_chance),
    Kind("An operator of a library", models.of_an_unknown_operator),
    Kind("Weights in a file that is missing", models.with_external_data),
    Kind("No outputs", models.without_outputs),
]

HEAD = """# Kinds of models

The table shows how Batchline serves each kind of model, or the sentence with which `models add`
rejects it.
`python -m scripts.model_kinds` makes this table: it validates a small model of each kind.
[Models](models.md) has the rules.

| kind of model | served or rejected | prediction of one row, or the sentence that you see |
|---|---|---|
"""


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    """Return the page, with a model of each kind examined anew."""
    with TemporaryDirectory() as folder:
        return HEAD + "".join(_row(kind, Path(folder)) for kind in KINDS)


def _row(kind: Kind, folder: Path) -> str:
    what = kind.what + kind.options
    path = kind.make(folder / "model.onnx")
    try:
        content = read_content(str(path))
        found = examine(content, "model.onnx", kind.choices)
    except ConfigurationError as error:
        sentence = f"{error.detail}. Hint: {error.hint}".replace(f"{folder}/", "")
        sentence = re.sub(r" by \d[\d.e+]*", " by …", sentence)  # noise is never the same
        return f"| {what} | rejected | {sentence} |\n"
    return f"| {what} | {_served(found)} | {_example(found)} |\n"


def _served(found: ModelReport) -> str:
    reason = found.batching.reason.partition(", by ")[0].partition(": [ONNX")[0]
    features = features_of(found.signature)
    missing = [each.name for each in features if each.may_be_missing]
    names = "all values" if len(missing) == len(features) else ", ".join(missing)
    told = f"; may be missing: {names}" if missing else ""
    return found.batching.verdict + (f": {reason}" if reason else "") + told


def _example(found: ModelReport) -> str:
    example = found.example or {}
    label = "" if example["label"] is None else f"label `{example['label']}`, "
    prediction = json.dumps(_rounded(example["prediction"]), ensure_ascii=False)
    return f"{label}`{prediction}`"


def _rounded(value: object) -> object:
    """Return a prediction as any machine computes it."""
    if isinstance(value, float):
        return float(f"{value:.2g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
