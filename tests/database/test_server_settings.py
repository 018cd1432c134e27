"""Settings of a server that would change the tables, or reject what Batchline writes."""

from contextlib import closing

import pytest
from sqlalchemy.exc import DataError

from batchline.constants import CLAIM_LEASE
from batchline.db import claims
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.dialects.inserts import insert_many
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from batchline.errors import ConfigurationError, DatabaseUnavailable
from devservers import Server
from devservers.mariadb import MariaDB
from tests.conftest import Servers
from tests.in_process import run_here
from tests.migrated import name_of
from tests.service import IRIS, migrate


class Replicated(MariaDB):
    """A server whose binary log has statements, not rows."""

    def command(self) -> list[str]:
        options = ["--log-bin=log", "--binlog-format=STATEMENT"]
        return [*(each for each in super().command() if each != "--skip-log-bin"), *options]


def test_a_binlog_of_statements_is_named_before_anything_is_created() -> None:
    server = Replicated(Replicated.find_program())
    try:
        server.begin()
        url = server.create_database()
        with closing(Database(url)) as database:
            with pytest.raises(ConfigurationError, match="binlog_format is STATEMENT") as caught:
                upgrade(database)
            assert "set binlog_format to ROW" in caught.value.hint
            with database.read() as connection:
                assert connection.exec_driver_sql("SHOW TABLES").all() == []
        server.execute("SET GLOBAL binlog_format = MIXED")
        with closing(Database(url)) as database:
            upgrade(database)
            database.transaction(lambda c: items.register(c, NewItems(["[]"])))
        server.execute("SET GLOBAL binlog_format = STATEMENT")
        found = run_here("check", DATABASE_URL=url)
        assert found.returncode == 1
        assert "binlog_format is STATEMENT" in found.stdout
    finally:
        server.end()


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_a_claim_keeps_its_time_whatever_the_server_does_with_timestamps(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    server.execute("SET GLOBAL explicit_defaults_for_timestamp = OFF")
    url = server.create_database()
    try:
        with closing(Database(url)) as database:
            upgrade(database, "0004")
            assert times_that_change(server, url) == ["expires_at"]
            upgrade(database)
            assert times_that_change(server, url) == []
            database.transaction(lambda c: items.register(c, NewItems(["[]"])))
            database.transaction(lambda c: claims.claim_one(c, 1, owner="me", lease=CLAIM_LEASE))
            change = "UPDATE claims SET owner = 'other'"
            before, after = (expiry(database, each) for each in ("SELECT 1", change))
            assert before == after
    finally:
        server.execute("SET GLOBAL explicit_defaults_for_timestamp = ON")
        server.drop_database(url)


SETTINGS = {
    "mysql": ["sql_safe_updates = ON", "sql_select_limit = 1", "max_execution_time = 1"],
    "mariadb": ["sql_safe_updates = ON", "sql_select_limit = 1", "max_statement_time = 0.001"],
}
SLOW = "SELECT id, SLEEP(0.02) FROM items"
"""It reads more rows, and takes longer, than the settings allow."""


@pytest.mark.every_server
@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_limits_that_the_server_sets_for_people_do_not_count(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    names = [setting.partition(" ")[0] for setting in SETTINGS[kind]]
    [before] = server.execute(f"SELECT {', '.join(f'@@GLOBAL.{name}' for name in names)}")
    url = server.create_database()
    try:
        for setting in SETTINGS[kind]:
            server.execute(f"SET GLOBAL {setting}")
        migrate(url)
        with closing(Database(url)) as database:
            database.transaction(lambda c: items.register(c, NewItems([f"[{IRIS}]"] * 3)))
            with database.read() as connection:
                assert len(connection.exec_driver_sql(SLOW).all()) == 3
        done = run_here("job", "--once", DATABASE_URL=url)
        assert done.stdout.startswith("3 items predicted, 0 failed"), done.stderr
    finally:
        for name, value in zip(names, before, strict=True):
            server.execute(f"SET GLOBAL {name} = {value}")
        server.drop_database(url)


def test_a_server_that_is_not_strict_rejects_what_does_not_fit(servers: Servers) -> None:
    server = servers.get("mysql")
    [(before,)] = server.execute("SELECT @@GLOBAL.sql_mode")
    url = server.create_database()
    try:
        server.execute("SET GLOBAL sql_mode = ''")
        with closing(Database(url)) as database, database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE short (text VARCHAR(3))")
            with pytest.raises(DataError, match="too long"):
                connection.exec_driver_sql("INSERT INTO short VALUES ('longer')")
    finally:
        server.execute(f"SET GLOBAL sql_mode = '{before}'")
        server.drop_database(url)


@pytest.mark.every_server
@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_a_table_for_which_there_is_no_space_is_named(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with closing(Database(url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("SET max_heap_table_size = 16384")
            connection.exec_driver_sql("CREATE TABLE small (text VARCHAR(4000)) ENGINE = MEMORY")
        with pytest.raises(DatabaseUnavailable, match="The table 'small' is full") as caught:
            database.transaction(
                lambda c: [insert_many(c, "small", {"text": ["x" * 4000]}) for _ in range(99)]
            )
    assert caught.value.hint == "free space on the database's disk"
    server.drop_database(url)


def times_that_change(server: Server, url: str) -> list[str]:
    query = (
        "SELECT column_name FROM information_schema.columns"
        f" WHERE table_schema = '{name_of(url)}' AND extra LIKE '%on update%'"
    )
    return [name for (name,) in server.execute(query)]


def expiry(database: Database, statement: str) -> object:
    """When the claim expires, after this statement."""
    with database.write() as connection:
        connection.exec_driver_sql(statement)
        return connection.exec_driver_sql("SELECT expires_at FROM claims").scalar_one()
