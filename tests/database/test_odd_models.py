"""Rows of the table `models` that an SQL client has stored or changed."""

from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import SchemaNewer
from batchline.registry.version import KnownVersions, read_versions
from batchline.task.worker import Worker
from tests import models
from tests.in_process import run_here
from tests.jobs import add_model, make_job

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def spoil(database: Database, column: str, value: object) -> None:
    """Put a value into the row of the model `odd`."""
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE models SET {column} = ? WHERE name = 'odd'", (value,))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("signature", ""),
        ("signature", "[]"),
        ("signature", '{"format": "x"}'),
        ("batching", "[]"),
        ("notes", "3"),
        ("name", b"\xff"),
        ("version", "x"),
        ("size", "x"),
    ],
)
def test_a_version_that_cannot_be_read_affects_no_other_model(
    column: str, value: object, database: Database, database_url: str, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "m.onnx"))
    add_model(database, models.negated(tmp_path / "odd.onnx"), name="odd")
    new = NewItems(["[[1, 2]]"] * 2, [DEFAULT_MODEL, "odd"])
    database.transaction(lambda connection: items.register(connection, new))
    spoil(database, column, value)
    done = Worker(job, threads=1).run_once()
    assert (done.succeeded, done.failed) == (1, 1)
    listed = run_here("models", "list", DATABASE_URL=database_url)
    assert (listed.returncode, DEFAULT_MODEL in listed.stdout) == (0, True)
    checked = run_here("check", DATABASE_URL=database_url)
    assert (checked.returncode, "✓ model default" in checked.stdout) == (1, True)
    assert "✗ the row 2 of the table models is not one that Batchline has stored" in checked.stdout


def test_a_time_that_cannot_be_read_makes_no_model_unusable(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    add_model(database, models.negated(tmp_path / "odd.onnx"), name="odd")
    spoil(database, "created_at", "never")
    assert run_here("models", "list", DATABASE_URL=database_url).returncode == 0
    shown = run_here("models", "show", "odd", DATABASE_URL=database_url)
    assert "added at an unreadable time" in shown.stdout


def test_a_signature_of_a_newer_batchline_stops_everything(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.negated(tmp_path / "odd.onnx"), name="odd")
    spoil(database, "signature", '{"format": 999}')
    with pytest.raises(SchemaNewer):
        KnownVersions(database).active()
    with pytest.raises(SchemaNewer):
        read_versions(database)
