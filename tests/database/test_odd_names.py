"""Databases, users and passwords may have any characters that their server allows."""

from urllib.parse import quote

import pytest

from devservers import Server
from tests.conftest import Servers
from tests.in_process import run_here

pytestmark = pytest.mark.every_server

NAME = "a-b 100% ü#?@:/é"
PASSWORD = "pä😀 %40+&=#?/:@'"


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "mariadb"])
def test_any_character_may_be_in_the_url_and_in_the_variables(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    database, user = create(server)
    name, password = quote(NAME, safe=""), quote(PASSWORD, safe="")
    url = f"{kind}://{name}:{password}@{server.host}:{server.port}/{name}"
    variables = {
        "MYSQL_SERVER": server.host,
        "MYSQL_PORT": str(server.port),
        "MYSQL_USER": NAME,
        "MYSQL_PASSWORD": PASSWORD,
        "MYSQL_DATABASE": NAME,
    }
    try:
        for settings in ({"DATABASE_URL": url}, *([] if kind == "postgresql" else [variables])):
            for words in (("db", "upgrade"), ("check",), ("job", "--once")):
                done = run_here(*words, **settings)
                assert done.returncode == 0, (words, done.stdout, done.stderr)
    finally:
        server.execute(f"DROP DATABASE {database}")
        server.execute(f"DROP USER {user}")


def create(server: Server) -> tuple[str, str]:
    """Create a database and its user, and return their names as the server's SQL has them."""
    password = PASSWORD.replace("'", "''")
    if server.name == "postgresql":
        database, user = f'"{NAME}"', f'"{NAME}"'
        server.execute(f"CREATE USER {user} PASSWORD '{password}'")
        server.execute(f"CREATE DATABASE {database} OWNER {user}")
    else:
        database, user = f"`{NAME}`", f"'{NAME}'@'%'"
        server.execute(f"CREATE DATABASE {database}")
        server.execute(f"CREATE USER {user} IDENTIFIED BY '{password}'")
        server.execute(f"GRANT ALL ON {database}.* TO {user}")
    return database, user
