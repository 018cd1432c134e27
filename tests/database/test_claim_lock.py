"""The table `gate`, whose row jobs lock in turn, if an SQL client has changed it."""

from datetime import datetime

import pytest

from batchline.db.cruds import claim_lock
from batchline.db.database import Database
from batchline.errors import SchemaOutdated
from tests.in_process import run_here

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def acquire(database: Database) -> datetime:
    with database.write() as connection:
        return claim_lock.acquire_claim_lock(connection)


def test_another_row_in_the_gate_stops_nobody(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO gate (id) VALUES (7)")
    assert acquire(database)


def test_a_gate_without_its_row_is_named_and_repaired_by_db_upgrade(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM gate")
    with pytest.raises(SchemaOutdated, match="the table gate has lost its row"):
        acquire(database)
    checked = run_here("check", DATABASE_URL=database_url)
    assert "✗ the table gate has lost its row" in checked.stdout
    assert run_here("db", "upgrade", DATABASE_URL=database_url).returncode == 0
    assert acquire(database)
