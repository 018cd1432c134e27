"""Model files that end the process which loads them, given to the commands that validate them."""

import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from batchline.db.database import Database
from tests import models
from tests.acceptance.test_deadly_loads import add_deadly
from tests.acceptance.test_endless_models import busy_child, endless, has_ended
from tests.conftest import long_only
from tests.jobs import add_model
from tests.service import Command, migrate, run, wait_for

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "batchline.db"


@pytest.fixture
def url(path: Path) -> str:
    url = f"sqlite:///{path}"
    migrate(url)
    return url


def stored(path: Path) -> list[tuple[object, ...]]:
    """All that a command might have written."""
    with sqlite3.connect(path) as connection:
        return [
            row
            for table in ("models", "model_files", "audit_entries")
            for row in connection.execute(f"SELECT * FROM {table}")
        ]


def ended(file: Path, name: str) -> str:
    return f"the model file {file} ended the process that validates it ({name})\n"


@pytest.mark.parametrize("words", [["models", "check"], ["models", "add", "m"]], ids=" ".join)
def test_a_model_that_ends_the_process_that_loads_it_is_refused(
    words: list[str], url: str, path: Path, tmp_path: Path
) -> None:
    file, before = models.deadly_to_load(tmp_path / "a b.onnx"), stored(path)
    done = run(*words, str(file), DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {ended(file, 'SIGFPE')}"
        f"hint: export the model again, then run: batchline models check '{file}'\n"
    )
    assert stored(path) == before


@pytest.mark.parametrize(
    "words",
    [["check"], ["db", "upgrade"], ["job", "--once"], long_only(["up", "--port", "0"])],
    ids=" ".join,
)
def test_such_a_model_of_the_settings_is_refused(
    words: list[str], url: str, path: Path, tmp_path: Path
) -> None:
    file, before = models.deadly_to_load(tmp_path / "deadly.onnx"), stored(path)
    done = run(*words, DATABASE_URL=url, MODEL_FILEPATH=str(file))
    said = done.stdout + done.stderr
    assert (done.returncode, ended(file, "SIGFPE") in said) == (1, True), said
    assert f"hint: export the model again, then run: batchline models check {file}" in said
    assert stored(path) == before


@pytest.mark.parametrize(
    "words", [["rows.csv", "--check"], ["--query", "SELECT 1 AS a", "-o", "out.csv"]], ids=" ".join
)
def test_predict_refuses_such_a_model(words: list[str], url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    file = models.deadly_to_load(tmp_path / "deadly.onnx")
    done = run("predict", *words, "--model", str(file), cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {ended(file, 'SIGFPE')}hint: ")
    assert not (tmp_path / "out.csv").exists()


def test_predict_from_file_to_file_names_such_a_model_at_its_first_end(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    file = models.deadly_to_load(tmp_path / "a b.onnx")
    done = run("predict", "rows.csv", "-o", "out.csv", "--model", str(file), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the model {file} ended the process that loads it (SIGFPE)\n"
        f"hint: export the model again, then run: batchline models check '{file}'\n"
    )
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".csv"] == ["rows.csv"]


def test_predict_from_file_to_file_names_such_a_version(url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    database = Database(url)
    add_deadly(database, tmp_path, "deadly")
    database.close()
    words = ["predict", "rows.csv", "-o", "out.csv", "--model", "deadly"]
    done = run(*words, cwd=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the model deadly ended the process that loads it (SIGFPE)\n"
        "hint: export the model again, then run: batchline models add deadly FILE\n"
    )


def test_predict_tries_a_model_again_whose_process_was_killed(tmp_path: Path) -> None:
    rows, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text("a,b\n1,2\n")
    words = ["predict", str(rows), "-o", str(output), "--model"]
    with Command(*words, *endless(tmp_path, models.unstoppable)) as command:
        seen: set[int] = set()
        for _ in range(3):
            busy = wait_for(lambda: (pid := busy_child(command)) not in seen and pid, "the trial")
            seen.add(busy)
            os.kill(busy, signal.SIGKILL)
        assert command.wait() == 1
        assert "model.onnx ended the process that loads it (SIGKILL)" in command.output
        assert "hint: give it more memory, then run: batchline models check" in command.output


def test_check_names_an_active_version_that_ends_its_process_and_checks_the_others(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    add_deadly(database, tmp_path, "deadly")
    add_model(database, models.negated(tmp_path / "last.onnx"), name="last")
    database.close()
    done = run("check", DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✓ model default: version 1\n" in done.stdout
    assert "✓ model last: version 1\n" in done.stdout
    assert (
        "✗ version 1 of the model deadly ended the process that loads it (SIGFPE)\n"
        "  hint: export the model again, then run: batchline models add deadly FILE\n"
    ) in done.stdout


def test_a_process_that_is_killed_may_have_needed_more_memory(url: str, tmp_path: Path) -> None:
    with Command(
        "models", "add", "m", *endless(tmp_path, models.unstoppable), DATABASE_URL=url
    ) as command:
        os.kill(wait_for(lambda: busy_child(command), "the trial run"), signal.SIGKILL)
        assert command.wait(5) == 1
        assert ended(tmp_path / "model.onnx", "SIGKILL") in command.output
        assert re.search(
            "hint: give it more memory, then run: batchline models check", command.output
        )


@pytest.mark.parametrize(
    "words", [["models", "add", "m"], long_only(["models", "check"])], ids=" ".join
)
def test_a_load_that_never_ends_is_ended(words: list[str], url: str, tmp_path: Path) -> None:
    file = models.unstoppable_to_load(tmp_path / "m.onnx")
    done = run(*words, str(file), DATABASE_URL=url, MODEL_TIMEOUT="0.5")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the trial run took longer than 0.5 s (MODEL_TIMEOUT)\n")


def test_the_process_of_a_trial_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    with Command("models", "check", *endless(tmp_path, models.unstoppable)) as command:
        probe = wait_for(lambda: busy_child(command), "the trial run")
        command.send(signal.SIGKILL)
        wait_for(lambda: has_ended(probe), "the end of the probe")


def test_verify_names_a_version_that_ends_its_process_and_verifies_the_others(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    add_deadly(database, tmp_path, "deadly")
    add_model(database, models.negated(tmp_path / "last.onnx"), name="last")
    database.close()
    done = run("verify", DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (1, "")
    reason = "version 1 of the model deadly ended the process that loads it (SIGFPE)\n"
    assert f"✗ version 1 of the model deadly: not verified: {reason}" in done.stdout
    assert "✓ version 1 of the model last: 0 items verified, 0 different\n" in done.stdout
