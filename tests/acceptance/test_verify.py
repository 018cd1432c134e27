"""The command `batchline verify`."""

from pathlib import Path

import pytest

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests import models
from tests.in_process import run_here
from tests.service import IRIS, migrate, run


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'batchline.db'}")
    migrate(url_of(database))
    with database.write() as connection:
        items.register(connection, NewItems([f"[{IRIS}]"] * 3))
    assert run_here("job", "--once", DATABASE_URL=url_of(database)).returncode == 0
    return database


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def test_verify_exits_with_0_if_all_predictions_are_right(database: Database) -> None:
    done = run("verify", DATABASE_URL=url_of(database))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "✓ version 1 of the model default: 3 items verified, 0 different\n"


def test_verify_exits_with_3_and_shows_what_differs_and_where_it_was_computed(
    database: Database,
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET data = '[[6.7, 3.0, 5.2, 2.3]]' WHERE id = 2")
    done = run_here("verify", "default", "--all", DATABASE_URL=url_of(database))
    assert done.returncode == 3
    first, stored, computed, summary, here, there = done.stdout.splitlines()
    assert first == "item 2, version 1 of default"
    assert stored.startswith('  stored:   {"setosa":0.98')
    assert computed.startswith('  computed: {"setosa":0.00')
    assert summary.endswith("3 items verified, 1 different")
    assert here.removeprefix("computed here with: ") == there.removeprefix("runs took place with: ")


def test_verify_exits_with_1_if_a_version_cannot_be_loaded(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM model_files")
    done = run_here("verify", DATABASE_URL=url_of(database))
    assert done.returncode == 1
    assert "not verified: the file of version 1" in done.stdout
    assert "hint: " in done.stdout


def test_verify_says_which_versions_it_cannot_verify_because_they_were_removed(
    database: Database, tmp_path: Path
) -> None:
    url = url_of(database)
    mine = str(models.doubling(tmp_path / "m.onnx", width=4))
    assert run_here("models", "add", "default", mine, DATABASE_URL=url).returncode == 0
    assert run_here("models", "remove", "default", "1", DATABASE_URL=url).returncode == 0
    done = run_here("verify", DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "– version 1 of the model default: not verified, its file was removed",
        "✓ version 2 of the model default: 0 items verified, 0 different",
    ]


def test_a_model_that_is_not_there_is_an_error(database: Database) -> None:
    done = run_here("verify", "nobody", DATABASE_URL=url_of(database))
    assert done.returncode == 1
    assert "no model has the name 'nobody'" in done.stderr
