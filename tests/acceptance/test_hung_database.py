"""A server that accepts connections and then says nothing ends a command soon."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from batchline.cli import silence
from batchline.configurations import read_settings
from batchline.db import statement_watch
from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable
from tests import models
from tests.conftest import SERVERS, Servers, first_of
from tests.faults.proxy import COMMIT, Proxy
from tests.in_process import run_here
from tests.service import run

Run = Callable[..., subprocess.CompletedProcess[str]]
Done = subprocess.CompletedProcess[str]
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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked about a statement after 0.3 seconds, not after 5."""
    monkeypatch.setattr(silence, "PATIENCE", 0.3)
    monkeypatch.setattr(silence, "INTERVAL", 0.1)
    monkeypatch.setattr(statement_watch, "PAUSE", 0.1)


TALKS = [
    (("failures",), rb"FROM failures"),
    (("retry", "--all"), COMMIT),
    (("retry", "--all"), rb"(BEGIN ISOLATION|FROM failures)"),
    (("models", "diff", "default", "1", "1"), rb"FROM models"),
    (("models", "add", "mine", "MODEL"), rb"INSERT INTO model_files"),
]


def silenced(url: str, words: tuple[str, ...], last: bytes, folder: Path, run: Run) -> Done:
    """What a command does if the server says nothing after this statement."""
    model = models.negated(folder / "m.onnx")
    with Proxy(url) as proxy:
        proxy.fall_silent_at(last)
        typed = [str(model) if each == "MODEL" else each for each in words]
        return run(*typed, DATABASE_URL=proxy.url)


@pytest.mark.usefixtures("hasty")
@pytest.mark.every_server
@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_commands_with_longer_statements_notice_that_nobody_works_on_theirs(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    for words, last in TALKS:
        started = time.monotonic()
        done = silenced(database_url, words, last, tmp_path, run_here)
        assert time.monotonic() - started < LIMIT, words
        assert (done.returncode, done.stdout) == (1, ""), words
        assert re.fullmatch("error: .* does not respond.*\nhint: .*\n", done.stderr), done.stderr


@pytest.mark.long
@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_they_notice_it_within_15_seconds(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    in_time = partial(run, timeout=LIMIT)
    done = silenced(database_url, ("failures",), rb"FROM failures", tmp_path, in_time)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not respond" in done.stderr


@pytest.mark.usefixtures("hasty")
@pytest.mark.every_server
@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_a_statement_that_the_server_works_on_is_not_interrupted(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "PATIENCE", 0.8)  # the statements that connect take some time, too
    sleep = "pg_sleep(1.5)" if database.engine.dialect.name == "postgresql" else "sleep(1.5)"
    settings = read_settings(database_url=database_url)
    with silence.opened_while_it_responds(settings) as opened, opened.read() as connection:
        connection.exec_driver_sql(f"SELECT {sleep}")
        time.sleep(1)  # between two statements the command may think


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_a_server_that_lets_nobody_in_any_more_is_silent(
    database: Database, database_url: str
) -> None:
    with Proxy(database_url) as proxy:
        settings = read_settings(database_url=proxy.url)
        silent = pytest.raises(DatabaseUnavailable, match="does not respond")
        with (
            silent,
            silence.opened_while_it_responds(settings) as opened,
            opened.read() as connection,
        ):
            proxy.drop_silently()
            proxy.fall_silent_at(rb".")
            connection.exec_driver_sql("SELECT 1")


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
    database = Database(url, timeout=1.5)
    slow = pytest.raises(DatabaseUnavailable, match="did not complete a statement in time")
    with slow, database.read() as connection:
        connection.exec_driver_sql("SELECT sleep(5)")
    database.close()
    mysql.drop_database(url)
