"""The primary becomes read-only, or another server becomes the primary."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy.engine import make_url

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from devservers import Server
from devservers.server import database_of
from tests.conftest import SERVERS, Servers, first_of
from tests.service import IRIS, Service, migrate, wait_for

FLIP = {
    "mysql": ["SET GLOBAL read_only = {}"],
    "mariadb": ["SET GLOBAL read_only = {}"],
    "postgresql": [
        "ALTER SYSTEM SET default_transaction_read_only = {}",
        "SELECT pg_reload_conf()",
    ],
}
SESSION = {
    "mysql": "SET SESSION transaction_read_only = ON",
    "mariadb": "SET SESSION tx_read_only = ON",
    "postgresql": "SET SESSION default_transaction_read_only = on",
}


@pytest.fixture(params=first_of([kind for kind in SERVERS if kind != "sqlite"]))
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    server = servers.get(request.param)
    yield server
    set_read_only(server, "OFF")


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """The URL of a migrated database, of a user whom `read_only` of MySQL does not let pass."""
    url = server.create_database()
    migrate(url)
    if server.name == "postgresql":
        yield url
    else:
        server.execute("CREATE USER plain@'%' IDENTIFIED BY 'plain'")
        server.execute(f"GRANT ALL ON {database_of(url)}.* TO plain@'%'")
        plain = make_url(url).set(username="plain", password="plain")
        yield plain.render_as_string(hide_password=False)
        set_read_only(server, "OFF")
        server.execute("DROP USER plain@'%'")
    set_read_only(server, "OFF")
    server.drop_database(url)


def set_read_only(server: Server, value: str) -> None:
    for statement in FLIP[server.name]:
        server.execute(statement.format(value))


def test_api_and_job_recover_once_the_server_can_be_written_to(server: Server, url: str) -> None:
    with Service(url, "up", BATCH_WAIT_TIME="0.2") as service:
        service.wait_for_result(service.register(IRIS))
        set_read_only(server, "ON")
        wait_for(lambda: try_to_register(service) == 503, "the rejection")
        assert not service.is_ready()
        insert_as_administrator(server, url)
        wait_for(lambda: job_noticed(service), "the job to notice")
        set_read_only(server, "OFF")
        wait_for(lambda: try_to_register(service) == 202, "the recovery")
        assert service.is_ready()
        assert service.wait_for_result(service.register(IRIS))["status"] == "succeeded"
        pending = "/items?status=pending"
        wait_for(lambda: service.http.get(pending).json()["items"] == [], "the other items")


def job_noticed(service: Service) -> bool:
    lines = service.output.splitlines()
    return any("database unavailable" in line and "role=job" in line for line in lines)


def insert_as_administrator(server: Server, url: str) -> None:
    """Register an item although the server is read-only, so that the job has something to do."""
    statement = f"INSERT INTO {{}}items (data) VALUES ('[{IRIS}]')"
    if server.name != "postgresql":
        server.execute(statement.format(f"{database_of(url)}."))
        return
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.read_only = False
        connection.execute(statement.format("").encode())


def try_to_register(service: Service) -> int:
    return service.http.post("/predict", json={"data": [IRIS]}).status_code


def test_sessions_of_the_former_primary_are_left(database: Database, database_kind: str) -> None:
    """As if the address led to another server since: new sessions can write, and old ones not."""
    if database_kind == "sqlite":
        return  # it has no sessions
    with database.read() as one, database.read() as two:
        for connection in (one, two):
            connection.exec_driver_sql(SESSION[database_kind])
            connection.commit()
    new = NewItems([f"[{IRIS}]"])
    assert len(database.transaction(lambda connection: items.register(connection, new))) == 1


def test_the_url_may_name_several_servers(servers: Servers) -> None:
    """The first one here is down."""
    url = make_url(servers.get("postgresql").url("postgres"))
    here = f"{url.host}:{url.port}"
    several = url.set(host=None, port=None).update_query_pairs(
        [("host", "127.0.0.1:1"), ("host", here), ("target_session_attrs", "read-write")]
    )
    with closing(Database(several.render_as_string(hide_password=False))) as database:
        database.check_server()
