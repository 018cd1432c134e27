"""Model files that never end: pipes, devices, and models whose trial run goes on forever."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchline.errors import ConfigurationError
from batchline.scoring.python_api import load_model
from tests import models
from tests.in_process import run_here
from tests.service import (
    Command,
    children_of,
    command_line,
    environment,
    migrate,
    run,
    wait_for,
)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    return str(path)


def test_a_pipe_or_a_device_is_no_model(pipe: str) -> None:
    for path, kind in [(pipe, "pipe"), ("/dev/zero", "device")]:
        done = run_here("models", "check", path)
        assert done.returncode == 1
        assert f"{path} cannot be read: it is a {kind} and not a regular file" in done.stderr
        assert "hint: give the path or the URL of an ONNX file" in done.stderr


@pytest.mark.parametrize("option", ["--labels", "--sample", "--features"])
def test_a_pipe_is_no_file_beside_a_model(option: str, pipe: str, tmp_path: Path) -> None:
    model = models.doubling(tmp_path / "m.onnx")
    done = run_here("models", "check", model, option, pipe)
    assert done.returncode == 1
    assert pipe in done.stderr
    assert "it is a pipe and not a regular file\nhint: " in done.stderr


def test_a_pipe_is_no_sample_in_python(pipe: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it is a pipe and not a regular file"):
        load_model(models.doubling(tmp_path / "m.onnx"), sample=pipe)


def test_a_model_whose_rows_have_no_values_is_refused(tmp_path: Path) -> None:
    done = run_here("models", "check", models.doubling(tmp_path / "m.onnx", width=0))
    assert done.returncode == 1
    assert "has no values, its shape is [0]\nhint: export the model" in done.stderr


@pytest.fixture
def migrated(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    return url


def endless(folder: Path, make: Callable[[Path], Path] = models.slow) -> tuple[str, ...]:
    """A model, and the option with rows at which it does not return."""
    most = {models.slow: 10**12, models.unstoppable: 2 * 10**6}[make]
    sample = folder / "rows.json"
    sample.write_text(f"[[{most}], [{most}]]")
    return str(make(folder / "model.onnx")), "--sample", str(sample)


TOO_LONG = (
    "error: the trial run took longer than 0.2 s (MODEL_TIMEOUT)\n"
    "hint: give rows that the model predicts sooner with --sample ROWS.json, or raise MODEL_TIMEOUT"
)


@pytest.mark.parametrize("words", [["check"], ["add", "m"]])
def test_a_trial_run_that_never_ends_is_ended(
    words: list[str], migrated: str, tmp_path: Path
) -> None:
    model = endless(tmp_path)
    done = run_here("models", *words, *model, DATABASE_URL=migrated, MODEL_TIMEOUT="0.2")
    assert (done.returncode, TOO_LONG in done.stderr) == (1, True)


@pytest.mark.parametrize("words", [["check"], ["db", "upgrade"], ["job", "--once"]], ids=" ".join)
def test_a_model_of_the_settings_that_never_ends_is_ended(
    words: list[str], migrated: str, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": migrated,
        "MODEL_FILEPATH": str(models.endless(tmp_path / "endless.onnx")),
        "MODEL_TIMEOUT": "0.2",
    }
    done = run_here(*words, **settings)
    said = done.stdout + done.stderr
    assert (done.returncode, TOO_LONG.partition("\n")[0].partition(" ")[2] in said) == (1, True)
    if words == ["check"]:
        assert "✓ database" in done.stdout


def test_load_model_ends_a_trial_run_that_never_ends(tmp_path: Path) -> None:
    model, _, sample = endless(tmp_path, models.unstoppable)
    program = (
        "import batchline, batchline.scoring.python_api as api; api.MODEL_TIMEOUT = 0.2\n"
        f"try: batchline.load_model({model!r}, sample={sample!r})\n"
        "except batchline.BatchlineError as error: print(error.detail)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout == "the trial run took longer than 0.2 s (MODEL_TIMEOUT)\n"


def test_predict_ends_a_trial_run_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    model = endless(tmp_path)
    done = run_here(
        "predict",
        "--model",
        *model,
        tmp_path / "rows.csv",
        "-o",
        tmp_path / "out.csv",
        MODEL_TIMEOUT="0.2",
    )
    assert (done.returncode, TOO_LONG in done.stderr) == (1, True)


def test_an_operator_that_cannot_be_ended_ends_the_check(tmp_path: Path) -> None:
    model = endless(tmp_path, models.unstoppable)
    done = run("models", "check", *model, MODEL_TIMEOUT="0.2")
    assert (done.returncode, TOO_LONG in done.stderr) == (1, True)


def test_ctrl_c_ends_a_migration_that_tries_a_model(migrated: str, tmp_path: Path) -> None:
    model = models.unstoppable_to_load(tmp_path / "m.onnx")
    with Command("db", "upgrade", DATABASE_URL=migrated, MODEL_FILEPATH=str(model)) as command:
        probe = wait_for(lambda: busy_child(command), "the trial run")
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT
        wait_for(lambda: has_ended(probe), "the end of the probe")
        assert command.output == "stopped: to finish it, run `batchline db upgrade` again\n"


@pytest.mark.parametrize(
    "words", [["models", "check"], ["predict", "--check", "rows.csv", "--model"]]
)
def test_ctrl_c_ends_a_trial_run(words: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("x\n1\n")
    words = [str(rows) if word == rows.name else word for word in words]
    with Command(*words, *endless(tmp_path, models.unstoppable)) as command:
        probe = wait_for(lambda: busy_child(command), "the trial run")
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT  # the operator takes an hour
        wait_for(lambda: has_ended(probe), "the end of the probe")
        assert command.output.startswith("stopped")
        assert command.output.count("stopped") == 1


def busy_child(command: Command) -> int | None:
    """The process that calls the model: the start of one takes less time of the processor."""
    children = children_of(command.process.pid)
    return next((pid for pid in children if seconds_of_work(pid) > 2), None)


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}/cmdline").exists() or not command_line(pid)


def seconds_of_work(pid: int) -> float:
    """The processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")
