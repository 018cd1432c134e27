"""The demo, as a newcomer meets it."""

from pathlib import Path

from tests.service import run


def test_the_demo_predicts_all_150_flowers(tmp_path: Path) -> None:
    done = run("demo", cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "150 of 150 predicted" in done.stdout
    assert done.stdout.count("✓") > 140
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_in_the_home_folder(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    assert run("db", "upgrade", cwd=work, HOME=str(home)).returncode == 0
    assert run("job", "--once", cwd=work, HOME=str(home)).returncode == 0
    assert list(home.iterdir()) == []  # ONNX Runtime would keep usage events there
