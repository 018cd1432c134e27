"""`check` finds a database in which nothing can be stored, and leaves nothing behind."""

import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import devservers
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from batchline.db.rehearsal import rehearse
from batchline.errors import DatabaseUnavailable
from tests.conftest import SQLITE_AND_A_SERVER, Servers
from tests.migrated import name_of


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_it_leaves_one_row_in_a_table_of_its_own(database: Database) -> None:
    rehearse(database)
    rehearse(database)
    tables = ("items", "predictions", "claims", "runs", "idempotency_keys", "batchline_checks")
    assert [count(database, table) for table in tables] == [0, 0, 0, 0, 0, 1]


def test_a_disk_that_is_full_is_found_at_the_commit(tmp_path: Path) -> None:
    """A limit on the size of files does to SQLite what a full disk does."""
    with closing(Database(f"sqlite:///{tmp_path / 'batchline.db'}")) as database:
        upgrade(database)
        database.transaction(lambda c: items.register(c, NewItems(["x" * 2_000_000])))
        log = (tmp_path / "batchline.db-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log, hard))
        try:
            with pytest.raises(DatabaseUnavailable) as caught:
                rehearse(database)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.hint == "free space on the database's disk"
        rehearse(database)


@contextmanager
def read_only(server: devservers.Server, url: str) -> Iterator[None]:
    """As a replica is."""
    if server.name == "mysql":
        server.execute("SET GLOBAL super_read_only = ON")
        yield
        server.execute("SET GLOBAL read_only = OFF")
    else:
        change = f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only"
        server.execute(f"{change} = on")
        yield
        server.execute(f"{change} = off")


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_server_that_is_read_only_is_found(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with closing(Database(url)) as database:
        upgrade(database)
    with closing(Database(url)) as database, read_only(server, url):
        with pytest.raises(DatabaseUnavailable, match="read-only") as caught:
            rehearse(database)
        assert caught.value.hint == "make the database writable for this user"
    server.drop_database(url)
