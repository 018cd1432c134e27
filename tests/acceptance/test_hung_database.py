"""A server that accepts connections and then says nothing ends a command soon."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable
from tests.conftest import SERVERS, Servers, first_of
from tests.faults.proxy import Proxy
from tests.service import run

Talk = Callable[[socket.socket], object]

LIMIT = 15.0
COMMANDS = [("check",), ("models", "list")]


@contextmanager
def server(talk: Talk) -> Iterator[int]:
    """The port of a server that says this to each client, and keeps the connection open."""
    clients = []

    def accept() -> None:
        with suppress(OSError):  # until the listener is shut down
            while True:
                clients.append(listener.accept()[0])
                threading.Thread(target=talk, args=(clients[-1],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    for client in clients:
        client.close()


def say_nothing(client: socket.socket) -> None:
    """A listening port of which the program hangs."""


def let_in(client: socket.socket) -> None:
    """PostgreSQL's handshake. The first statement gets no answer."""
    while len(client.recv(1024)) == 8:  # asks for encryption
        client.sendall(b"N")
    settings = (b"server_version\x0016.0\x00", b"client_encoding\x00UTF8\x00")
    messages = [(b"R", bytes(4)), *((b"S", each) for each in settings), (b"Z", b"I")]
    client.sendall(b"".join(kind + size(body) + body for kind, body in messages))


def size(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "big")


def assert_says_so(words: tuple[str, ...], url: str) -> None:
    done = run(*words, timeout=LIMIT, DATABASE_URL=url)
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if "does not respond" in line]
    assert len(said) == 1, done.stdout + done.stderr
    assert url.replace("secret", "***").partition("://")[2] in said[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_silent_port_ends_a_command(kind: str, words: tuple[str, ...]) -> None:
    with server(say_nothing) as port:
        assert_says_so(words, f"{kind}://me:secret@127.0.0.1:{port}/rows")


def test_postgresql_that_answers_no_statement_ends_a_command() -> None:
    """MySQL's driver sends its first statements while it connects."""
    with server(let_in) as port:
        assert_says_so(("models", "list"), f"postgresql://me:secret@127.0.0.1:{port}/rows")


@pytest.mark.parametrize("database_kind", first_of(SERVERS), indirect=True)
def test_a_server_that_falls_silent_in_the_middle_ends_a_command(
    database: Database, database_url: str
) -> None:
    with Proxy(database_url) as proxy:
        proxy.fall_silent_at(rb"FROM models")
        done = run("models", "list", timeout=60, DATABASE_URL=proxy.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("does not respond|did not complete a statement in time", done.stderr)


def refuse_encryption(client: socket.socket) -> None:
    client.recv(1024)
    client.sendall(b"N")


def test_a_server_that_answers_is_not_called_silent() -> None:
    with server(refuse_encryption) as port:
        url = f"postgresql://me@127.0.0.1:{port}/rows?sslmode=require"
        with pytest.raises(DatabaseUnavailable, match=r"cannot be used: .*support SSL"):
            Database(url).check_server()


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_name_without_an_address_is_not_called_silent(kind: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be used") as raised:
        Database(f"{kind}://me@nowhere.invalid/rows").check_server()
    assert raised.value.hint == "check the host and the port"


def test_a_server_that_is_slow_at_a_statement_is_not_called_silent(servers: Servers) -> None:
    """PostgreSQL ends the statement itself, and says so."""
    mysql = servers.get("mysql")
    url = mysql.create_database()
    database = Database(url, timeout=0.5)
    slow = pytest.raises(DatabaseUnavailable, match="did not complete a statement in time")
    with slow, database.read() as connection:
        connection.exec_driver_sql("SELECT sleep(5)")
    database.close()
    mysql.drop_database(url)
