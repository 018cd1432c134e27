"""Connections that were cut while nobody used them: the next use of the database works."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from batchline.constants import KEEPALIVE_IDLE, UNACKNOWLEDGED_TIMEOUT
from batchline.db.cruds import claim_lock
from batchline.db.database import Database
from batchline.db.dialects import liveness
from devservers.server import database_of
from tests.conftest import SERVERS, Servers
from tests.faults.proxy import Proxy
from tests.service import wait_for

DRIVERS = [kind for kind in SERVERS if kind != "mariadb"]
"""MariaDB has the driver of MySQL."""

SESSIONS = {
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = '{}'",
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = '{}'",
}
END = {"mysql": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}


@pytest.fixture(params=DRIVERS)
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def far(database: Database, proxy: Proxy) -> Iterator[Database]:
    """The migrated database through the proxy, with three connections that nobody uses."""
    with closing(Database(proxy.url, timeout=30)) as far:
        use_three(far)
        yield far


def use_three(database: Database) -> None:
    with database.read() as one, database.read() as two, database.write() as three:
        for connection in (one, two, three):
            claim_lock.database_time(connection)


def assert_works_at_once(far: Database) -> None:
    use_three(far)
    with far.write() as connection:
        claim_lock.acquire_claim_lock(connection)


def test_a_proxy_that_cuts_idle_connections_costs_nothing(far: Database, proxy: Proxy) -> None:
    assert proxy.cut_all() == 3
    assert_works_at_once(far)


def test_a_server_that_ends_idle_sessions_costs_nothing(
    far: Database, proxy: Proxy, database_kind: str, database_url: str, servers: Servers
) -> None:
    server = servers.get(database_kind)
    sessions = SESSIONS[database_kind].format(database_of(database_url))
    ended = server.execute(sessions)
    for (session,) in ended:
        with suppress(Exception):  # it may have ended already
            server.execute(END[database_kind].format(session))
    wait_for(lambda: not {*server.execute(sessions)} & {*ended}, "the end of the sessions")
    wait_for(lambda: proxy.count_open() == 0, "the news of it, which a busy machine passes on late")
    assert_works_at_once(far)


def test_a_network_that_drops_packets_silently_costs_one_test_of_a_connection(
    far: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test waits for less time here. Without it, each statement would wait for 30 seconds."""
    monkeypatch.setattr(liveness, "IDLE_TEST_AFTER", 0)
    monkeypatch.setattr(liveness, "CONNECT_TIMEOUT", 1)
    tests: list[object] = []
    ping = liveness._ping
    monkeypatch.setattr(liveness, "_ping", lambda each: (tests.append(each), ping(each)))
    proxy.drop_silently()
    assert_works_at_once(far)
    assert len(tests) <= 4  # one waited, and those of the last transaction did not


def test_a_connection_that_is_in_use_is_not_tested(
    far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "IDLE_TEST_AFTER", 60)
    monkeypatch.setattr(liveness, "_ping", lambda _: pytest.fail("it was tested"))
    assert_works_at_once(far)


def test_the_system_watches_over_each_connection(far: Database) -> None:
    with far.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(liveness._socket(driver))) as same:
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE
            limit = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert limit == UNACKNOWLEDGED_TIMEOUT * 1000
