"""A command that only uses a database does not create one."""

from pathlib import Path

import pytest

from tests.in_process import run_here

COMMANDS = [
    ("check",),
    ("retry", "--all"),
    ("verify",),
    ("backfill", "default"),
    ("models", "list"),
    ("predict", "flowers.csv", "-o", "out.csv", "--model", "nosuchmodel"),
    ("predict", "--model", "nosuchmodel", "--query", "SELECT 1", "-o", "out.csv"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_names_the_database_that_is_missing(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flowers.csv").write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n")
    monkeypatch.chdir(tmp_path)
    done = run_here(*words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the database sqlite:///batchline.db does not exist" in done.stdout + done.stderr
    assert not list(tmp_path.glob("batchline.db*"))
