"""Model files that never end: pipes, devices, and models whose trial run goes on forever."""

import os
from pathlib import Path

import pytest

from batchline.errors import ConfigurationError
from batchline.scoring.python_api import load_model
from tests import models
from tests.in_process import run_here


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    return str(path)


@pytest.mark.timeout(20)
def test_a_pipe_or_a_device_is_no_model(pipe: str) -> None:
    for path, kind in [(pipe, "pipe"), ("/dev/zero", "device")]:
        done = run_here("models", "check", path)
        assert done.returncode == 1
        assert f"{path} cannot be read: it is a {kind} and not a regular file" in done.stderr
        assert "hint: give the path or the URL of an ONNX file" in done.stderr


@pytest.mark.timeout(20)
@pytest.mark.parametrize("option", ["--labels", "--sample", "--features"])
def test_a_pipe_is_no_file_beside_a_model(option: str, pipe: str, tmp_path: Path) -> None:
    model = models.doubling(tmp_path / "m.onnx")
    done = run_here("models", "check", model, option, pipe)
    assert done.returncode == 1
    assert pipe in done.stderr
    assert "it is a pipe and not a regular file\nhint: " in done.stderr


@pytest.mark.timeout(20)
def test_a_pipe_is_no_sample_in_python(pipe: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it is a pipe and not a regular file"):
        load_model(models.doubling(tmp_path / "m.onnx"), sample=pipe)


def test_a_model_whose_rows_have_no_values_is_refused(tmp_path: Path) -> None:
    done = run_here("models", "check", models.doubling(tmp_path / "m.onnx", width=0))
    assert done.returncode == 1
    assert "has no values, its shape is [0]\nhint: export the model" in done.stderr
