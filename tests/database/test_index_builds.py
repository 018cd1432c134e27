"""Indexes are built while clients write, and are complete before a schema counts as migrated."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import Connection, inspect

from batchline.constants import SCHEMA_REVISION, TABLE_LOCK_WAIT
from batchline.db import migrations
from batchline.db.cruds import schema
from batchline.db.database import Database
from batchline.errors import SchemaOutdated
from tests.conftest import Servers
from tests.service import Command, wait_for

pytestmark = pytest.mark.every_server

NEW = "items_status_lane_id"
INSERT = "INSERT INTO items (data) VALUES ('[[1, 2, 3, 4]]')"


@pytest.fixture
def previous(database_url: str) -> Iterator[Database]:
    """A database with an item that has no index yet, although its tables are those of today."""
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, SCHEMA_REVISION)
        with database.write() as connection:
            schema.record_migration(connection, "0003")
            connection.exec_driver_sql(INSERT)
        yield database


@contextmanager
def open_transaction(database: Database) -> Iterator[Connection]:
    """A client has inserted an item and commits at the end of the block."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql(INSERT)
        yield connection
        connection.commit()


def upgrading(database: Database) -> Command:
    return Command("db", "upgrade", DATABASE_URL=url_of(database))


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def is_building(database: Database) -> bool:
    """Whether the server builds an index of `items`, or waits for a client to do so."""
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            # Its row in the catalog is committed before it waits.
            query = (
                "SELECT count(*) FROM pg_stat_progress_create_index"
                " JOIN pg_index ON indexrelid = index_relid"
                " WHERE NOT indisvalid AND indrelid = 'items'::regclass"
            )
        else:
            query = (
                "SELECT count(*) FROM information_schema.processlist"
                " WHERE state LIKE '%%metadata lock%%' AND info LIKE 'ALTER%%'"
            )
        return bool(connection.exec_driver_sql(query).scalar())


def indexes_of(database: Database) -> set[str | None]:
    with database.read() as connection:
        return {index["name"] for index in inspect(connection).get_indexes("items")}


def insert_with_limit(database: Database) -> None:
    """Insert an item, and fail if that takes much longer than a build may keep a writer waiting."""
    done = threading.Event()

    def insert() -> None:
        with database.write() as connection:
            connection.exec_driver_sql(INSERT)
        done.set()

    thread = threading.Thread(target=insert, daemon=True)
    thread.start()
    assert done.wait(TABLE_LOCK_WAIT + 8)
    thread.join()


def test_clients_write_while_an_index_waits_for_a_transaction(
    previous: Database, database_kind: str
) -> None:
    if database_kind == "sqlite":
        return  # it has one writer at a time
    with upgrading(previous) as upgrade:
        with open_transaction(previous):
            wait_for(lambda: is_building(previous), "the build")
            for _ in range(3):
                insert_with_limit(previous)
            assert upgrade.process.poll() is None
        assert upgrade.wait() == 0, upgrade.output
    assert NEW in indexes_of(previous)


def test_clients_write_while_a_new_column_waits_for_a_transaction(
    database_url: str, database_kind: str
) -> None:
    if database_kind == "sqlite":
        return  # it has one writer at a time
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0004")
        with upgrading(database) as upgrade:
            with open_transaction(database):
                wait_for(lambda: waits_for_items(database), "the new column")
                for _ in range(3):
                    insert_with_limit(database)
                assert upgrade.process.poll() is None
            assert upgrade.wait() == 0, upgrade.output
        with database.read() as connection:
            schema.check(connection)


def waits_for_items(database: Database) -> bool:
    """Whether a statement that changes `items` waits for a client."""
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            query = (
                "SELECT count(*) FROM pg_locks WHERE relation = 'items'::regclass AND NOT granted"
            )
            return bool(connection.exec_driver_sql(query).scalar())
    return is_building(database)


def test_the_schema_is_outdated_until_its_indexes_are_complete(
    previous: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(connection: Connection, index: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("batchline.db.dialects.indexes.build", stop)
        with pytest.raises(KeyboardInterrupt):
            migrations.upgrade(previous)
    with previous.read() as connection:
        with pytest.raises(SchemaOutdated):
            schema.check(connection)
        monkeypatch.setattr(schema, "SCHEMA_REVISION", "0003")
        schema.check(connection)  # code of the previous revision goes on
        monkeypatch.undo()
    migrations.upgrade(previous)
    with previous.read() as connection:
        schema.check(connection)
    assert NEW in indexes_of(previous)


@pytest.fixture
def on_postgresql(servers: Servers) -> Iterator[Database]:
    with closing(Database(servers.get("postgresql").create_database())) as database:
        migrations.upgrade(database, SCHEMA_REVISION)
        yield database


def valid_indexes(database: Database) -> set[str]:
    query = (
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE indrelid = 'items'::regclass AND indisvalid"
    )
    with database.read() as connection:
        return set(connection.exec_driver_sql(query).scalars())


def test_a_build_that_the_server_ended_is_done_again(on_postgresql: Database) -> None:
    with upgrading(on_postgresql) as upgrade, open_transaction(on_postgresql):
        wait_for(lambda: is_building(on_postgresql), "the build")
        with on_postgresql.write() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index"
            )
        assert upgrade.wait() == 1
    interrupted = indexes_of(on_postgresql) - valid_indexes(on_postgresql)
    assert len(interrupted) == 1
    migrations.upgrade(on_postgresql)
    assert {NEW, *interrupted} <= valid_indexes(on_postgresql)


def test_a_migration_that_was_killed_leaves_its_build_to_the_server(
    on_postgresql: Database,
) -> None:
    """The next migration waits for that build, and clients write meanwhile."""
    with open_transaction(on_postgresql):
        with upgrading(on_postgresql) as killed:
            wait_for(lambda: is_building(on_postgresql), "the build")
            killed.process.kill()
            killed.wait()
        next_one = threading.Thread(target=migrations.upgrade, args=[on_postgresql])
        next_one.start()
        insert_with_limit(on_postgresql)
        assert is_building(on_postgresql)
        assert next_one.is_alive()
    next_one.join()
    assert NEW in valid_indexes(on_postgresql)
    with on_postgresql.read() as connection:
        schema.check(connection)
