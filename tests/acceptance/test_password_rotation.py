"""A password that changes while processes run, which read it from a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from devservers import Server
from tests.conftest import SERVERS, Servers, first_of
from tests.service import IRIS, Service, migrate, wait_for

WORDS = {"postgresql": ("", "PASSWORD"), "mysql": ("@'%'", "IDENTIFIED BY")}
WORDS["mariadb"] = WORDS["mysql"]


@pytest.fixture(params=first_of(["postgresql", "mysql", "mariadb"]))
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    if request.param not in SERVERS:
        pytest.skip(f"DATABASES does not name {request.param}")
    return servers.get(request.param)


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """The URL of a migrated database, of a user with the password `old`."""
    url = server.create_database()
    migrate(url)
    host, by = WORDS[server.name]
    server.execute(f"CREATE USER rotating{host} {by} 'old'")
    if server.name == "postgresql":
        server.execute(f"GRANT {server.user} TO rotating")
    else:
        server.execute(f"GRANT ALL ON *.* TO rotating{host}")
    rotating = make_url(url).set(username="rotating", password="old")
    yield rotating.render_as_string(hide_password=False)
    server.drop_database(url)
    server.execute(f"DROP USER rotating{host}")


def rotate(server: Server) -> None:
    """Change the password, and end the sessions that have the old one."""
    host, by = WORDS[server.name]
    server.execute(f"ALTER USER rotating{host} {by} 'new'")
    sessions, end = {
        "postgresql": (
            "SELECT pid FROM pg_stat_activity WHERE usename = 'rotating'",
            "SELECT pg_terminate_backend({})",
        ),
    }.get(
        server.name,
        ("SELECT id FROM information_schema.processlist WHERE user = 'rotating'", "KILL {}"),
    )
    ended = server.execute(sessions)
    for (session,) in ended:
        server.execute(end.format(session))
    wait_for(lambda: not {*server.execute(sessions)} & {*ended}, "the end of the sessions")


def test_api_and_job_go_on_with_the_password_that_the_file_has_then(
    server: Server, url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text(url)
    settings = {"DATABASE_URL_FILE": str(secret), "DATABASE_URL": "", "BATCH_WAIT_TIME": "0.2"}
    with Service(url, "up", **settings) as service:
        service.wait_for_result(service.register(IRIS))
        secret.write_text(url.replace(":old@", ":new@"))
        rotate(server)
        assert service.wait_for_result(service.register(IRIS))["status"] == "succeeded"
        assert ":new" not in service.output
