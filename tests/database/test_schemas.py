"""PostgreSQL's schemas: the `search_path` of the URL or of the role says where Batchline lives."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from batchline.db.cruds import claim_lock, items
from batchline.db.database import Database
from batchline.db.dialects.inserts import COPY_ROWS
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from batchline.errors import ConfigurationError, DatabaseUnavailable
from devservers.server import database_of
from tests.conftest import Servers
from tests.in_process import run_here
from tests.service import IRIS, migrate, wait_for

ITEM = f"[{IRIS}]"
OPTIONS = "?options=-csearch_path%3Dapp,public"
FILL = """CREATE SCHEMA app; CREATE SCHEMA "Other App"; CREATE TABLE items (note text);
    CREATE TABLE runs (note text); INSERT INTO items VALUES ('of another program')"""
IN_PUBLIC = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"


@pytest.fixture
def url(servers: Servers) -> Iterator[str]:
    """The URL of a database behind PgBouncer, in which another program has tables in `public`."""
    with servers.pooler() as pooler:
        url = pooler.create_database()
        with closing(Database(url)) as database, database.write() as connection:
            connection.exec_driver_sql(FILL)
        yield url
        pooler.drop_database(url)


def set_for_all(url: str, servers: Servers, *settings: str) -> None:
    """Set it as an operator does, for the sessions of this database from now on."""
    server, name = servers.get("postgresql"), database_of(url)
    for setting in settings:
        server.execute(f"ALTER DATABASE {name} SET {setting}")
    server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    wait_for(lambda: answers(url), "a new session of the pooler")


def answers(url: str) -> bool:
    """Whether the pooler has noticed that its sessions have ended."""
    try:
        return scalar(url, "SELECT 1") == 1
    except DatabaseUnavailable:
        return False


def scalar(url: str, query: str) -> object:
    with closing(Database(url)) as database, database.read() as connection:
        return connection.exec_driver_sql(query).scalar()


@pytest.mark.parametrize("place", ["url", "database"])
def test_all_of_batchline_is_in_the_first_schema(url: str, place: str, servers: Servers) -> None:
    with_path = url + OPTIONS if place == "url" else url
    if place == "database":
        set_for_all(url, servers, "search_path = app, public")
    migrate(with_path)
    migrate(with_path)
    with closing(Database(with_path)) as database:
        for count in (1, COPY_ROWS):
            database.transaction(lambda c, count=count: items.register(c, NewItems([ITEM] * count)))
    done = run_here("job", "--once", DATABASE_URL=with_path)
    assert done.returncode == 0, done.stderr
    done = run_here("check", DATABASE_URL=with_path)
    assert done.returncode == 0, done.stdout
    assert scalar(with_path, "SELECT count(*) FROM app.predictions") == COPY_ROWS + 1
    assert scalar(url, "SELECT count(*) FROM public.items") == 1
    with closing(Database(url)) as database, database.read() as connection:
        assert [*connection.exec_driver_sql(IN_PUBLIC).scalars()] == ["items", "runs"]


@pytest.mark.parametrize("before", ["", "pg_catalog,"])
def test_a_name_may_need_quotes(url: str, before: str) -> None:
    with_path = url + f"?options=-c%20search_path%3D{before}%22Other\\ App%22"
    with closing(Database(with_path)) as database:
        upgrade(database)
    assert scalar(url, 'SELECT count(*) FROM "Other App".items') == 0


def test_a_schema_that_does_not_exist_is_said(url: str) -> None:
    missing = pytest.raises(ConfigurationError, match="search_path exists, which is nowhere")
    with closing(Database(url + "?options=-csearch_path%3Dnowhere")) as database, missing:
        upgrade(database)


def test_a_table_of_another_program_earlier_in_the_path_is_named(url: str) -> None:
    migrate(url + "?options=-csearch_path%3Dapp")
    with closing(Database(url)) as database, database.write() as connection:
        connection.exec_driver_sql("CREATE SCHEMA early; CREATE TABLE early.items (data text)")
    with_path = url + "?options=-csearch_path%3Dearly,app"
    for words in (("check",), ("db", "upgrade"), ("job", "--once")):
        done = run_here(*words, DATABASE_URL=with_path)
        assert done.returncode == 1
        assert "the search_path leads to early.items" in done.stdout + done.stderr
        assert "put app first in the search_path" in done.stdout + done.stderr


def test_a_path_that_leads_past_batchline_is_named(url: str) -> None:
    migrate(url + "?options=-csearch_path%3Dapp")
    done = run_here("check", DATABASE_URL=url)
    assert done.returncode == 1
    assert "Batchline is in the schema app, which the search_path does not lead to" in done.stdout
    assert "add options=-csearch_path=app to" in done.stdout


def test_settings_of_the_database_change_nothing(url: str, servers: Servers) -> None:
    with_path = url + OPTIONS
    migrate(with_path)
    run_here("job", "--once", DATABASE_URL=with_path)
    styles = ("datestyle = 'German, DMY'", "timezone = 'Asia/Tokyo'")
    timeouts = ("statement_timeout = 500", "lock_timeout = 10")
    others = ("default_transaction_isolation = 'serializable'",)
    set_for_all(url, servers, *styles, *timeouts, *others)
    with closing(Database(with_path)) as database:
        database.transaction(lambda c: items.register(c, NewItems([ITEM])))
        assert run_here("job", "--once", DATABASE_URL=with_path).returncode == 0
        with database.read() as connection:
            found = items.get(connection, 1)
            connection.exec_driver_sql("SELECT pg_sleep(0.6)")
        assert waits_for_a_lock(database)
    assert found is not None
    assert found.status == "succeeded"
    assert abs((datetime.now(UTC) - found.created_at).total_seconds()) < 600


def waits_for_a_lock(database: Database) -> bool:
    """Whether a claimer waits for longer than the `lock_timeout` of the database."""
    with ThreadPoolExecutor() as pool:
        with database.write() as connection:
            claim_lock.acquire_claim_lock(connection)
            other = pool.submit(database.transaction, claim_lock.acquire_claim_lock)
            wait_for(lambda: waiting(connection), "the other one to wait")
            time.sleep(0.1)
        return isinstance(other.result(), datetime)


def waiting(connection: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(connection.exec_driver_sql(query).scalar())
