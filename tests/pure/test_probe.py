"""Models that are tried in a process of their own."""

from pathlib import Path

import numpy as np
import pytest

from batchline.constants import IRIS_LABELS, IRIS_MODEL
from batchline.errors import ConfigurationError
from batchline.ml.examination.report import Choices
from batchline.ml.runtime import Runtime
from batchline.registry.model_file import ModelFile
from batchline.registry.probe import Probe
from tests import models

ROWS = ("rows.json", b"[[1, 2], [3, 4]]")


def test_a_probe_finds_out_what_an_examination_finds_out(tmp_path: Path) -> None:
    choices = Choices(features=("a", "b"), missing=("a",), allow_non_finite=True)
    doubling = ModelFile.read(str(models.doubling(tmp_path / "m.onnx")), None, choices)
    iris = ModelFile.read(str(IRIS_MODEL), IRIS_LABELS)
    weights = np.ones((2, 2), np.float32)
    external = ModelFile.read(str(models.with_external_data(tmp_path / "external.onnx", weights)))
    with Probe() as probe:
        for file, sample in [(doubling, None), (doubling, ROWS), (iris, None), (external, None)]:
            assert probe.examine(file, sample, Runtime()) == file.examine(sample, Runtime())


def test_a_probe_says_why_a_model_is_refused_as_an_examination_does(tmp_path: Path) -> None:
    choices = Choices(probabilities="nothing")
    file = ModelFile.read(str(models.doubling(tmp_path / "m.onnx")), None, choices)
    with pytest.raises(ConfigurationError) as expected:
        file.examine(None, None)
    with Probe() as probe, pytest.raises(ConfigurationError) as found:
        probe.examine(file, None, Runtime())
    assert (found.value.detail, found.value.hint) == (expected.value.detail, expected.value.hint)


def test_a_probe_goes_on_with_another_process_after_a_model_has_ended_one(tmp_path: Path) -> None:
    deadly = ModelFile.read(str(models.deadly_to_load(tmp_path / "deadly.onnx")))
    good = ModelFile.read(str(models.doubling(tmp_path / "good.onnx")))
    with Probe() as probe:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"validates it \(SIGFPE\)"):
                probe.examine(deadly, None, Runtime())
            assert probe.examine(good, None, Runtime()).signature.inputs
