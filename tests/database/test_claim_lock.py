"""The table `gate`, whose row jobs lock in turn."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import select

from batchline.db.cruds import claim_lock
from batchline.db.database import Database
from batchline.db.dialects.types import clock_time
from batchline.errors import SchemaOutdated
from tests.conftest import SERVERS
from tests.in_process import run_here
from tests.service import wait_for

WAITS = "SHOW GLOBAL STATUS LIKE 'innodb_row_lock_current_waits'"
WAITS_OF_POSTGRESQL = "SELECT 'waits', count(*) FROM pg_locks WHERE NOT granted"

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def acquire(database: Database) -> datetime:
    with database.write() as connection:
        return claim_lock.acquire_claim_lock(connection)


@pytest.mark.every_server
@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_a_lease_begins_with_the_lock_and_not_with_the_wait_for_it(
    database: Database, database_kind: str
) -> None:
    waits = WAITS_OF_POSTGRESQL if database_kind == "postgresql" else WAITS
    with ThreadPoolExecutor() as pool, database.write() as holder:
        claim_lock.acquire_claim_lock(holder)
        acquired = pool.submit(acquire, database)
        wait_for(lambda: int(holder.exec_driver_sql(waits).one()[1]), "the wait for the lock")
        released = holder.execute(select(clock_time())).scalar_one()
        holder.commit()
        assert acquired.result() > released


@on_sqlite
def test_another_row_in_the_gate_stops_nobody(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO gate (id) VALUES (7)")
    assert acquire(database)


@on_sqlite
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
