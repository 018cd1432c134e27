"""Encrypted connections: right and wrong authorities, right and wrong hosts."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from ssl import CERT_NONE, CERT_REQUIRED

import pytest
from sqlalchemy.engine import make_url

from batchline.configurations import read_settings
from batchline.db.database import Database
from batchline.db.dialects.mysql import connection_class
from batchline.errors import ConfigurationError, DatabaseUnavailable
from devservers import Server
from tests.certificates import Certificate, authority, expired_certificate, server_certificate
from tests.conftest import SERVERS, Servers, first_of

OURS, OTHER = authority("ours"), authority("other")
HERE = server_certificate("127.0.0.1", OURS)
ELSEWHERE = server_certificate("db.example", OURS)

MODES = {
    "postgresql": {"identity": "verify-full", "ca": "verify-ca", "required": "require"},
    "mysql": {"identity": "VERIFY_IDENTITY", "ca": "VERIFY_CA", "required": "REQUIRED"},
}
MODES["mariadb"] = MODES["mysql"]
CIPHER = {
    "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT variable_value > '' FROM performance_schema.session_status"
    " WHERE variable_name = 'Ssl_cipher'",
}
KINDS = [*(kind for kind in SERVERS if kind != "mariadb"), *first_of(["", "mariadb"])[1:]]


class Encrypted:
    """A server that shows one certificate after the other."""

    def __init__(self, server: Server, stack: ExitStack, folder: Path) -> None:
        self._server, self._stack, self._folder = server, stack, folder

    def shows(self, each: Certificate) -> None:
        self._stack.enter_context(self._server.encrypted(OURS.pem, each.pem, each.key_pem))

    def connect(self, mode: str | None, ca: Certificate | None) -> Database:
        postgresql = self._server.name == "postgresql"
        query = {}
        if mode is not None:
            name = "sslmode" if postgresql else "ssl_mode"
            query[name] = MODES[self._server.name][mode]
        if ca is not None:
            file = self._folder / "ca.pem"
            file.write_bytes(ca.pem)
            query["sslrootcert" if postgresql else "ssl_ca"] = str(file)
        base = "postgres" if postgresql else "information_schema"
        url = make_url(self._server.url(base)).update_query_dict(query)
        return Database(url.render_as_string(hide_password=False))

    def works(self, mode: str | None, ca: Certificate | None) -> bool:
        """Whether a connection is made, which then is encrypted."""
        with closing(self.connect(mode, ca)) as database, database.read() as connection:
            if self._server.name == "postgresql":
                return bool(connection.exec_driver_sql(CIPHER["postgresql"]).scalar())
            return bool(connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").one()[1])

    def error(self, mode: str | None, ca: Certificate | None) -> DatabaseUnavailable:
        with closing(self.connect(mode, ca)) as database, pytest.raises(DatabaseUnavailable) as it:
            database.check_server()
        return it.value


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Encrypted]:
    with ExitStack() as stack:
        yield Encrypted(servers.get(request.param), stack, tmp_path)


def test_the_authority_and_the_host_are_checked_as_far_as_the_mode_says(server: Encrypted) -> None:
    server.shows(HERE)
    for mode in ("identity", "ca"):
        assert server.works(mode, OURS)
        error = server.error(mode, OTHER)
        assert "certificate" in error.detail
        assert "authority" in error.hint
    assert server.works("required", None)
    server.shows(ELSEWHERE)
    assert server.works("ca", OURS)
    error = server.error("identity", OURS)
    assert "127.0.0.1" in error.detail
    assert "host" in error.hint


def test_a_ca_alone_checks_the_host_too_on_mysql(servers: Servers, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Encrypted(servers.get("mysql"), stack, tmp_path)
        server.shows(ELSEWHERE)
        assert "host" in server.error(None, OURS).hint
        server.shows(HERE)
        assert server.works(None, OURS)
        server.error("identity", None)  # the system's authorities did not sign it


def test_a_certificate_that_has_expired_is_rejected(servers: Servers, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = Encrypted(servers.get("postgresql"), stack, tmp_path)
        server.shows(expired_certificate("127.0.0.1", OURS))
        assert "the server's certificate may have expired" in server.error("identity", OURS).hint


def test_without_encryption_of_the_server_it_can_be_required_only_in_vain(
    servers: Servers, tmp_path: Path
) -> None:
    for kind in SERVERS:
        if kind == "mysql":  # which always has a certificate
            continue
        server = Encrypted(servers.get(kind), ExitStack(), tmp_path)
        assert "encryption" in server.error("required", None).hint


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ssl_mode=SOME", "must be one of DISABLED.*, got SOME"),
        ("ssl_ca=/missing.pem", "cannot be read from /missing.pem"),
        ("ssl_ca=/x.pem&ssl_mode=REQUIRED", "REQUIRED checks no certificate"),
    ],
)
def test_wrong_options_are_said(query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Database(f"mysql://me@127.0.0.1/rows?{query}")


def test_connections_that_verify_nothing_read_no_certificates() -> None:
    """Those that verify do, for a context of their own."""
    new = connection_class()
    one, two = (new(defer_connect=True, user="me").ctx for _ in range(2))
    assert one is two
    assert (one.verify_mode, one.get_ca_certs()) == (CERT_NONE, [])
    verifying = new(defer_connect=True, user="me", ssl_verify_identity=True).ctx
    assert verifying is not one
    assert verifying.verify_mode == CERT_REQUIRED


def test_the_settings_become_options_of_the_url(
    monkeypatch: pytest.MonkeyPatch, servers: Servers, tmp_path: Path
) -> None:
    variables = {"SERVER": "db", "USER": "me", "DATABASE": "rows", "SSL_CA": "/etc/my ca.pem"}
    for name, value in variables.items():
        monkeypatch.setenv(f"MYSQL_{name}", value)
    assert make_url(read_settings().url()).query == {"ssl_ca": "/etc/my ca.pem"}
    monkeypatch.setenv("MYSQL_SSL_MODE", "VERIFY_CA")
    query = {"ssl_ca": "/etc/my ca.pem", "ssl_mode": "VERIFY_CA"}
    assert make_url(read_settings().url()).query == query
    monkeypatch.delenv("MYSQL_SERVER")
    with pytest.raises(ConfigurationError, match="MYSQL_SERVER must be set with MYSQL_"):
        read_settings()
