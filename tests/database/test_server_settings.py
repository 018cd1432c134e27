"""Settings of a server that would change the tables, or reject what Batchline writes."""

from contextlib import closing

import pytest

from batchline.constants import CLAIM_LEASE
from batchline.db import claims
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from batchline.errors import ConfigurationError
from devservers import Server
from devservers.mariadb import MariaDB
from tests.conftest import Servers
from tests.in_process import run_here
from tests.migrated import name_of


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
