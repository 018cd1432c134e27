"""The base class of all servers: process, port, readiness, crash and stop."""

import itertools
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from devservers import processes
from devservers.fetch import Package, fetched

START_SECONDS = 60
STOP_SECONDS = 30
PORTS_OF_A_PROCESS = 200


class Server(ABC):
    """One running server. `devservers.start` starts and stops it."""

    name: ClassVar[str]
    package: ClassVar[Package]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    connect_error: ClassVar[type[Exception]]
    host = "127.0.0.1"
    user = "batchline"

    def __init__(self, program: Path) -> None:
        self.program = program
        self.password = secrets.token_hex(12)
        self.port = 0
        self.version = ""
        self.home = Path(tempfile.mkdtemp(prefix=f"devservers-{self.name}-"))
        self.data = self.home / "data"
        self.log = self.home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = processes.Watcher(self.home)
        self._managing = threading.Lock()
        self._kept: Any = None

    @classmethod
    def find_program(cls) -> Path:
        """Return the installed or the downloaded program. DEVSERVERS_FETCH=1 forces the latter.

        A variable such as DEVSERVERS_POSTGRESQL names another program, to test another release.
        """
        if given := os.environ.get(f"DEVSERVERS_{cls.name.upper()}"):
            return Path(given)
        program = None if os.environ.get("DEVSERVERS_FETCH") == "1" else cls.installed()
        return program or next(fetched(cls.package).glob(cls.package.programs[0]))

    @classmethod
    @abstractmethod
    def installed(cls) -> Path | None:
        """Return the server's program, if it is installed."""

    @abstractmethod
    def initialise(self) -> None:
        """Create the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that serves the data folder on the port."""

    @abstractmethod
    def connect(self) -> Any:
        """Return a new connection that belongs to no test database and commits each statement."""

    @abstractmethod
    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""

    @abstractmethod
    def drop_database(self, url: str) -> None:
        """Remove a database, even if clients are connected to it."""

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Execute one statement in a new connection, outside of any test database."""
        with closing(self.connect()) as connection:
            return rows_of(connection, sql)

    def manage(self, sql: str) -> list[tuple[Any, ...]]:
        """Do the same in a connection that is kept, since a new one takes ten times as long."""
        with self._managing:
            if self._kept is None:
                self._kept = self.connect()
            try:
                return rows_of(self._kept, sql)
            except self.connect_error:
                self._forget_connection()
                raise

    def _forget_connection(self) -> None:
        if self._kept is not None:
            with suppress(Exception):  # the server may have ended it
                self._kept.close()
            self._kept = None

    def create_database(self) -> str:
        """Create an empty database with a unique name, and return its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.manage(f"CREATE DATABASE {name}")
        return self.url(name)

    @abstractmethod
    def encrypted(
        self, authority: bytes, certificate: bytes, key: bytes
    ) -> AbstractContextManager[None]:
        """Offer encryption with this certificate during the block."""

    def write_files(self, **contents: bytes) -> dict[str, Path]:
        """Write files that the server can read."""
        found = {}
        for name, content in contents.items():
            found[name] = self.home / f"{name}-{secrets.token_hex(4)}.pem"
            found[name].write_bytes(content)
        return found

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def begin(self) -> None:
        """Create the data folder and start the server."""
        self.initialise()
        self.port = free_port()
        self._launch()

    def end(self) -> None:
        """Stop the server and remove its data."""
        try:
            self.stop()
        finally:
            self._watcher.end()

    def kill(self) -> None:
        """Kill the server, as in a crash. `restart` starts it again."""
        self._forget_connection()
        if self._process is not None and self.running:
            processes.kill(self._process.pid)
            self._process.wait()

    def pause(self) -> None:
        """Pause the server. Its connections stay open, and it does not respond."""
        if self._process is not None and self.running:
            processes.pause(self._process.pid)

    def resume(self) -> None:
        if self._process is not None and self.running:
            processes.resume(self._process.pid)

    def stop(self) -> None:
        """Shut the server down, and kill it if that takes more than `STOP_SECONDS`."""
        self._forget_connection()
        if self._process is None or not self.running:
            return
        self.resume()  # a paused process does not receive the signal
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        """Start again with the same port and data, and return when the server responds."""
        self.stop()
        self._launch()

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.home,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only the parent, which stops the server
                **self.identity(),
            )
        self._watcher.guard(self._process.pid)
        self._wait_until_ready(self._process)

    def identity(self) -> dict[str, Any]:
        """Return Popen's arguments to run as another user than the tests."""
        return {}

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} exited with {process.returncode}:\n{self._tail()}")
            try:
                self.version = bare_version(self.execute("SELECT version()")[0][0])
                return
            except self.connect_error as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self.name} did not respond in {START_SECONDS} seconds:\n{self._tail()}"
                    ) from error
                time.sleep(0.03)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def run_to_end(self, command: list[str], **options: Any) -> None:
        """Run a helper program of the server, such as the one that creates the data folder."""
        done = subprocess.run(
            command,
            cwd=self.home,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self.identity(),
            **options,
        )
        if done.returncode != 0:
            output = done.stdout.decode(errors="replace")[-4000:]
            raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{output}")


def find_installed(program: str) -> Path | None:
    """Return a program from PATH or from the folders of servers, which may not be in PATH."""
    folders = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin"
    found = shutil.which(program, path=folders)
    return Path(found).resolve() if found else None


def free_port() -> int:
    """Return a free port that this function gives to no other process.

    It is below the range that the kernel uses for outgoing connections. A client could get a port
    of that range while the server is down between kill and restart, and even connect to itself.
    """
    for port in itertools.islice(own_ports(), PORTS_OF_A_PROCESS):
        with socket.socket() as probe:
            try:
                probe.bind((Server.host, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"all {PORTS_OF_A_PROCESS} ports of this process are in use")


@cache
def own_ports() -> Iterator[int]:
    """Yield the ports reserved for this process, in an endless cycle.

    Without a reservation, processes that start servers at the same time, such as the workers of a
    test run, could choose the same port. The name of a socket reserves the ports: only one process
    can have a socket with that name, and the kernel closes the socket when the process exits.
    """
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    firsts = range(end - 12000, end, PORTS_OF_A_PROCESS)
    for first in random.sample(firsts, len(firsts)):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0devservers-ports-{first}")  # an abstract name, without a file
        except OSError:
            reservation.close()
            continue
        reservation.detach()  # keeps it open
        return itertools.cycle(range(first, first + PORTS_OF_A_PROCESS))
    raise RuntimeError(f"at most {len(firsts)} processes can use devservers at the same time")


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that change the settings of a server."""
    removed = ("PG", "MYSQL", "MARIADB", "LD_", "LC_", "NOTIFY_")
    return {k: v for k, v in os.environ.items() if not k.startswith(removed)} | {"LC_ALL": "C"}


def database_of(url: str) -> str:
    """Return the database's name from a URL of `create_database`. It is safe in a statement."""
    name = urlsplit(url).path.removeprefix("/")
    if not re.fullmatch(r"test_[0-9a-f]+", name):
        raise ValueError(f"the database's name must be like test_0a1b2c, got {name!r}")
    return name


def rows_of(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Execute one statement, and return its rows if it has any."""
    cursor = connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall()) if cursor.description else []


def bare_version(text: str) -> str:
    """Return the version number: 9.7.0 of `9.7.0-2`, 15.1 of `PostgreSQL 15.1 (Debian …)`."""
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else text
