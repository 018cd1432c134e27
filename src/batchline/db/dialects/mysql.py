"""Connections to MySQL and MariaDB: timeouts, keepalive and encryption."""

import socket
import ssl
from functools import cache
from typing import Any

from sqlalchemy.engine import URL

from batchline.constants import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    UNACKNOWLEDGED_TIMEOUT,
)
from batchline.errors import ConfigurationError

MODE = "ssl_mode"
MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""The values of `ssl_mode`, as MySQL's own clients have them."""
FILES = ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key")
OF_DRIVERS = {"ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity", "ssl_disabled"}
"""Options of SQLAlchemy and PyMySQL that say the same in another way."""

KEEPALIVE = {
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": KEEPALIVE_IDLE,
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL,
    "TCP_KEEPCNT": KEEPALIVE_COUNT,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_TIMEOUT * 1000,
}
"""The options of a socket. Not every system has all of them."""

SESSION = (
    "SET time_zone = '+00:00', sql_safe_updates = 0, sql_select_limit = 18446744073709551615,"
    " sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'),"
    " wait_timeout = {wait_timeout}"
    " /*!80000 , max_execution_time = 0 */ /*M! , max_statement_time = 0 */"
)
"""The settings of a session that do not depend on those of the server.

Limits for people at a console would end long statements, or let results lack rows in silence. A
server that is not strict would shorten values in silence. MySQL reads the first of the comments,
and MariaDB the second one.
"""


def arguments(url: URL, timeout: float | None) -> dict[str, Any]:
    """Return the arguments for PyMySQL.

    Raises:
        ConfigurationError: the options of encryption contradict each other, or a file is missing.
    """
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": timeout,
        "write_timeout": timeout,
        "init_command": SESSION.format(wait_timeout=IDLE_TIMEOUT),
        **_encryption(url),
    }


def _encryption(url: URL) -> dict[str, Any]:
    """Return the arguments for `ssl_mode`. Without it, a CA means that the host is checked too."""
    if MODE not in url.query:
        verifies = "ssl_ca" in url.query and not OF_DRIVERS & url.query.keys()
        return {"ssl": _context(url, "VERIFY_IDENTITY")} if verifies else {}
    mode = str(url.query[MODE]).upper()
    if mode not in MODES:
        raise ConfigurationError(
            f"ssl_mode must be one of {', '.join(MODES)}, got {url.query[MODE]}",
            hint="correct ssl_mode in DATABASE_URL, or MYSQL_SSL_MODE",
        )
    if not mode.startswith("VERIFY") and ("ssl_ca" in url.query or "ssl_capath" in url.query):
        raise ConfigurationError(
            f"ssl_mode {mode} checks no certificate, so it cannot have a CA",
            hint="set ssl_mode to VERIFY_IDENTITY, or remove the CA",
        )
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    return {} if mode == "PREFERRED" else {"ssl": _context(url, mode)}


def _context(url: URL, mode: str) -> ssl.SSLContext:
    """Return how to encrypt. Without a CA in the URL, the system's are trusted."""
    ca, ca_path, certificate, key = (url.query.get(name) for name in FILES)
    try:
        context = ssl.create_default_context(cafile=ca, capath=ca_path)  # type: ignore[arg-type]
        if certificate is not None:
            context.load_cert_chain(certificate, key)  # type: ignore[arg-type]
    except OSError as error:
        files = ", ".join(str(url.query[name]) for name in FILES if name in url.query)
        raise ConfigurationError(
            f"the certificates for the database cannot be read from {files}: {error}",
            hint="correct ssl_ca, ssl_cert and ssl_key in DATABASE_URL, or MYSQL_SSL_CA",
        ) from error
    # MySQL's own certificates do not conform to it. Python requires it from 3.13 on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_NONE if mode == "REQUIRED" else ssl.CERT_REQUIRED
    return context


def connect(words: Any, options: dict[str, Any]) -> Any:
    """Return a new connection. It waits for `CONNECT_TIMEOUT` until `limit_waiting` says more.

    PyMySQL's `connect_timeout` ends when the port accepts. The handshake, and the statements that
    PyMySQL and SQLAlchemy send after it, wait for `read_timeout`, which is that of a statement.
    PyMySQL would send the password as Latin-1, and the servers' own clients send it as UTF-8.
    """
    given = {**options, "read_timeout": CONNECT_TIMEOUT}
    if isinstance(given.get("password"), str):
        given["password"] = given["password"].encode()
    connection = connection_class()(*words, **given)
    if connection.unix_socket is None:
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
                connection._sock.setsockopt(level, getattr(socket, name), value)
    return connection


@cache
def connection_class() -> Any:
    """Return PyMySQL's class, with one context for all connections that are encrypted by default.

    PyMySQL makes one for each connection. It reads all certificates of the system, which takes 25
    ms of CPU, and then verifies none.
    """
    from pymysql.connections import Connection  # slow to import

    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE

    class Quick(Connection):
        def _create_ssl_ctx(self, options: Any) -> ssl.SSLContext:
            if not options:
                return unverified
            return super()._create_ssl_ctx(options)  # type: ignore[misc, no-any-return]

    return Quick


def limit_waiting(connection: Any, timeout: float | None) -> float | None:
    """Let PyMySQL wait for so many seconds for each reply, and return the limit before."""
    before: float | None = connection._read_timeout
    connection._read_timeout = timeout  # PyMySQL reads it before each reply
    return before
