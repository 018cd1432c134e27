"""What one process of `predict` tells another one arrives as it was said."""

from pathlib import Path

import pytest

from batchline.cli.predict_ask import Ask, ModelAsk, RunSettings
from batchline.cli.predict_request import from_json, to_json
from batchline.files.options import Format, ReadOptions, WriteOptions
from batchline.ml.examination.report import Choices
from batchline.scoring.error_limit import ErrorLimit
from batchline.scoring.ray_options import RayOptions

SETTINGS = RunSettings(2, 300.0, 1, "all", ("CPUExecutionProvider",), (), "INFO", "console", None)
UNDECODED = "caf\udce9.csv"
"""A file name that is not UTF-8, as Python reads it."""


def ask(sample: tuple[str, bytes] | None = None, ray: RayOptions | None = None) -> Ask:
    choices = Choices(features=("a", "b"), missing_text=("city=?",), allow_non_finite=True)
    model = ModelAsk(
        "m.onnx", Path("labels.json"), sample, choices, ("a", "b"), ["label"], {"label": "x"},
        error_column=True, model_columns=False,
    )  # fmt: skip
    reading = ReadOptions(Format.CSV, ";", ",", ".", "latin-1", ("", "NA"))
    return Ask(
        SETTINGS, [UNDECODED, "-"], "out.csv", model, reading, WriteOptions(), None,
        ErrorLimit(share=0.5), as_json=True, resume=False, only_errors=None, ray=ray,
    )  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [ask(), ask(("rows.csv", b"\x00\xff")), ask(ray=RayOptions("ray://head", most=4))],
    ids=["a file", "with a sample", "on Ray"],
)
def test_a_run_arrives_as_it_was_said(said: Ask) -> None:
    heard = from_json(to_json(said))
    assert heard == said
    assert isinstance(heard.reading.format, Format)
    assert isinstance(heard.model.features, tuple)


def test_a_value_of_another_kind_is_an_error_and_not_left_out() -> None:
    with pytest.raises(TypeError, match="complex is no part of a run"):
        to_json(Ask(**{**ask().__dict__, "limit": 1j}))
