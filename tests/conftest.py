"""Real databases, each test on one of its own.

`DATABASES=sqlite,mysql` in the environment limits the suite to some of them while working on it.

`make test` leaves out tests and parameters that are marked `long`: cross products of which it runs
one representative. `make torture` gives `--long`, which runs them and the long forms of tests that
ask for the fixture `long`.

Tests of processes run on SQLite and on one server, and tests of statements on either MySQL or
MariaDB: on which one depends on the test, so that all tests together use each server (`TURNS`).
`make torture` and `DATABASES=mysql make test` run the others. A test whose behaviour differs by
server is marked `every_server`.
"""

import os
import shutil
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Pool, event

import devservers
from batchline.db.database import Database
from tests.migrated import Template
from tests.service import migrate

if TYPE_CHECKING:
    from tests.api_here import ServiceHere

Templates = Callable[[str], Template]
KINDS = os.environ.get("DATABASES", "sqlite,mysql,mariadb,postgresql").split(",")
SERVERS = [kind for kind in KINDS if kind != "sqlite"]
IN_CI = bool(os.environ.get("CI"))
TURNS = {
    "tests/acceptance/": SERVERS,
    "tests/faults/": SERVERS,
    "tests/database/predict_sql/": SERVERS,
    "tests/database/": ["mysql", "mariadb"],
}
"""The servers that take turns in the tests of a folder. The first folder that fits counts."""

# The time that an example takes depends on the tests beside it.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def first_of(values: Sequence[object]) -> list[Any]:
    """Parameters of which `make test` runs the first one, and `make torture` the others."""
    return [*values[:1], *(long_only(each) for each in values[1:])]


def long_only(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.long)


SQLITE_AND_A_SERVER = [*(kind for kind in KINDS if kind == "sqlite"), *first_of(SERVERS)]
"""For what depends on being a server, and not on which one."""


@event.listens_for(Pool, "connect")
def limit_parameters(connection: object, record: object) -> None:
    """Allow as many parameters as SQLite does by default. Distributions allow other numbers."""
    if isinstance(connection, sqlite3.Connection):
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run what is only in `make torture`, in its long form"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: only in `make torture`")
    config.addinivalue_line("markers", "every_server: on all servers also in `make test`")
    # A shell lets what it runs in the background ignore Ctrl-C, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is not long, or with --long what has a long form."""
    take_turns(items)
    keeps = has_a_long_form if config.getoption("--long") else is_not_long
    others = [item for item in items if not keeps(item)]
    if len(others) < len(items) or not config.getoption("--long"):  # else a test was named
        config.hook.pytest_deselected(items=others)
        items[:] = filter(keeps, items)


def take_turns(items: Sequence[pytest.Item]) -> None:
    """Mark as long what runs on a server although it is another server's turn."""
    tests = defaultdict[str, dict[str, pytest.Item]](dict)
    for item in filter(is_not_long, items):
        for server in servers_in_turn(item):
            tests[item.nodeid.replace(server, "")][server] = item
    for name, by_server in tests.items():
        turn = sorted(by_server)[crc32(name.encode()) % len(by_server)]
        for server in by_server.keys() - {turn}:
            by_server[server].add_marker(pytest.mark.long)


def servers_in_turn(item: pytest.Item) -> set[str]:
    """Return the server that a parameter of the test names, if it takes turns with others."""
    if item.get_closest_marker("every_server"):
        return set()
    of_folder = (each for folder, each in TURNS.items() if item.nodeid.startswith(folder))
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {each for each in parameters if isinstance(each, str)} & {*next(of_folder, ())}


def is_not_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is None


def has_a_long_form(item: pytest.Item) -> bool:
    return not is_not_long(item) or "long" in getattr(item, "fixturenames", ())


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the long form was asked for."""
    return bool(request.config.getoption("--long"))


class Servers:
    """The database servers of this test session, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, devservers.Server] = {}

    def get(self, kind: str) -> devservers.Server:
        if kind not in self._running:
            self._running[kind] = self._start(kind)
        return self._running[kind]

    def _start(self, kind: str) -> devservers.Server:
        with available(kind):
            return self._stack.enter_context(devservers.start(kind))

    @contextmanager
    def pooler(self, mode: str = "transaction", size: int = 3) -> Iterator[devservers.Server]:
        """PgBouncer in front of PostgreSQL during the block."""
        postgresql = self.get("postgresql")
        with ExitStack() as stack:
            with available("pgbouncer"):
                pooler = stack.enter_context(devservers.start_pooler(postgresql, mode, size))
            yield pooler


@contextmanager
def available(kind: str) -> Iterator[None]:
    """Skip the test if the machine does not have this program and cannot download it."""
    try:
        yield
    except devservers.ServerUnavailable as error:
        message = f"not tested on {kind}: {error}"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(params=KINDS)
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def new_database(kind: str, servers: Servers, folder: Path) -> Iterator[str]:
    """The URL of a new, empty database; the end of the block removes it from its server."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'batchline.db'}"
        return
    server = servers.get(kind)
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def database_url(database_kind: str, servers: Servers, tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database, on each kind of database in turn."""
    with new_database(database_kind, servers, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def templates(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """The migrated database of each kind, once it is asked for."""
    folder = tmp_path_factory.mktemp("templates")
    with ExitStack() as stack:
        yield cache(
            lambda kind: Template(kind, stack.enter_context(new_database(kind, servers, folder)))
        )


@pytest.fixture
def database(
    database_kind: str, database_url: str, servers: Servers, templates: Templates
) -> Iterator[Database]:
    """A migrated database."""
    server = None if database_kind == "sqlite" else servers.get(database_kind)
    templates(database_kind).copy_to(database_url, server)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def iris_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("iris") / "batchline.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def iris_url(iris_template: Path, tmp_path: Path) -> str:
    """The URL of an SQLite database with Batchline's tables and the bundled model."""
    return f"sqlite:///{shutil.copy(iris_template, tmp_path)}"


@pytest.fixture
def service(database: Database, database_url: str) -> Iterator["ServiceHere"]:
    """The service on a database of its own; its job runs again and again."""
    from tests.api_here import ServiceHere  # slow to import

    with ServiceHere(database_url) as service:
        yield service


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """In CI nothing may be skipped. (An error while tests are collected would end a worker.)"""
    if IN_CI and (item.get_closest_marker("skip") or item.get_closest_marker("skipif")):
        pytest.fail(f"{item.nodeid} may be skipped, which CI does not allow", pytrace=False)
