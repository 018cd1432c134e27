"""What all servers have in common: the process, its port, readiness, crash and end."""

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
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
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
    """One running server; `devservers.start` makes and ends it."""

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

    @classmethod
    def find_program(cls) -> Path:
        """The installed server, else the fetched one; DEVSERVERS_FETCH=1 ignores installed ones."""
        program = None if os.environ.get("DEVSERVERS_FETCH") == "1" else cls.installed()
        return program or next(fetched(cls.package).glob(cls.package.programs[0]))

    @classmethod
    @abstractmethod
    def installed(cls) -> Path | None:
        """The server's program, if the machine has it."""

    @abstractmethod
    def initialise(self) -> None:
        """Fill the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that serves the data folder on the port."""

    @abstractmethod
    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement over a connection of its own, outside of any test database."""

    @abstractmethod
    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database."""

    @abstractmethod
    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""

    def create_database(self) -> str:
        """A new, empty database of a unique name; returns its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def begin(self) -> None:
        """Make the data folder and start on it for the first time."""
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
        """End the server at once, as a crash would; `restart` brings it back."""
        if self._process is not None and self.running:
            processes.kill(self._process.pid)
            self._process.wait()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        if self._process is not None and self.running:
            processes.pause(self._process.pid)

    def resume(self) -> None:
        if self._process is not None and self.running:
            processes.resume(self._process.pid)

    def stop(self) -> None:
        """End the server in order, or by force if it does not end in time."""
        if self._process is None or not self.running:
            return
        self.resume()  # a paused process would not see the signal
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        """Start again on the same port and data, and return when the server answers."""
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
                start_new_session=True,  # Ctrl-C is for the starter, which then ends the server
                **self.identity(),
            )
        self._watcher.guard(self._process.pid)
        self._wait_until_ready(self._process)

    def identity(self) -> dict[str, Any]:
        """Popen's arguments for another user than the one who runs the tests."""
        return {}

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {process.returncode}:\n{self._tail()}")
            try:
                self.version = bare_version(self.execute("SELECT version()")[0][0])
                return
            except self.connect_error as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not answer:\n{self._tail()}") from error
                time.sleep(0.03)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def run_to_end(self, command: list[str], **options: Any) -> None:
        """Run a helper of the server, such as the one that fills the data folder."""
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
            raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{output}")


def find_installed(program: str) -> Path | None:
    """Look in the usual folders for servers too, which an ordinary user's PATH leaves out."""
    folders = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin"
    found = shutil.which(program, path=folders)
    return Path(found).resolve() if found else None


def free_port() -> int:
    """A port that nothing uses and that no other process gets from here.

    It is below the ports that the kernel gives to outgoing connections. One of those could be
    taken by a client while the server is down between kill and restart; a client that retries
    could even be connected to itself.
    """
    for port in itertools.islice(own_ports(), PORTS_OF_A_PROCESS):
        with socket.socket() as probe:
            try:
                probe.bind((Server.host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("found no free port")


@cache
def own_ports() -> Iterator[int]:
    """The ports of this process, again and again.

    Processes that start servers at the same time, such as the workers of a test run, would
    otherwise now and then choose the same port. The name of a socket reserves the ports: only one
    process can have a socket of that name, and the kernel closes the socket when the process ends.
    """
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    firsts = range(end - 12000, end, PORTS_OF_A_PROCESS)
    for first in random.sample(firsts, len(firsts)):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0devservers-ports-{first}")  # an abstract name: there is no file
        except OSError:
            reservation.close()
            continue
        reservation.detach()  # it stays open
        return itertools.cycle(range(first, first + PORTS_OF_A_PROCESS))
    raise RuntimeError("too many processes use devservers")


def clean_environment() -> dict[str, str]:
    """Leave out what would change a server's or a helper's settings behind our back."""
    ours = ("PG", "MYSQL", "MARIADB", "LD_", "LC_", "NOTIFY_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"LC_ALL": "C"}


def database_of(url: str) -> str:
    """The name in a URL that `create_database` returned; only such a name goes into a statement."""
    name = urlsplit(url).path.removeprefix("/")
    if not re.fullmatch(r"test_[0-9a-f]+", name):
        raise ValueError("not the URL of a database made here")
    return name


def bare_version(text: str) -> str:
    """9.7.0 of 9.7.0-2, 15.1 of PostgreSQL 15.1 (Debian …)."""
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else text
