"""The real commands as processes, and HTTP calls to them."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar
from unittest.mock import patch

import httpx

from batchline.cli.wiring import prepare_database
from batchline.configurations import read_settings
from batchline.ml.content import Bytes
from batchline.registry import probe_process
from batchline.registry.probe import Probe
from devservers.server import free_port

T = TypeVar("T")

PATIENCE = 60.0
IRIS = [5.1, 3.5, 1.4, 0.2]
SETTINGS = re.compile(
    "DATABASE_|MYSQL_|BATCH_WAIT|WORKER_|MODEL_|LABEL_|HOST$|AUTH$|ALLOWED_HOSTS$|CORS_ORIGINS$|PORT$|METRICS_|LATE_AFTER$|LOG_"
)


def wait_for(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """The first true value of `condition`, which is asked again and again."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {patience} s"
        time.sleep(0.02)
    return value


def children_of(pid: int) -> list[int]:
    """The child processes of a process, the oldest first. It has none once it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
            found += map(int, (thread / "children").read_text().split())
    return found


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings and no others of Batchline."""
    clean = {name: value for name, value in os.environ.items() if not SETTINGS.match(name)}
    return {**clean, **settings}


def run(
    *words: str, timeout: float = PATIENCE, cwd: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a `batchline` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "batchline", *words],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )


def migrate(database_url: str, **settings: str) -> None:
    """Do what `batchline db upgrade` does, without the time that a process takes to start."""
    path = Path(database_url.removeprefix("sqlite:///"))
    if database_url.startswith("sqlite:///") and not settings and not path.exists():
        path.write_bytes(migrated_file())
    else:
        upgrade(database_url, **settings)


@cache
def migrated_file() -> bytes:
    """Return a database of SQLite as `batchline db upgrade` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/batchline.db")
        return Path(folder, "batchline.db").read_bytes()


def upgrade(database_url: str, **settings: str) -> None:
    variables = environment(DATABASE_URL=database_url, **settings)
    with patch.dict(os.environ, variables, clear=True), patch.object(Probe, "_answer", probed):
        prepare_database(read_settings())


def probed(probe: Probe, request: dict[str, Any], parts: list[Bytes]) -> dict[str, Any]:
    """Do in this process what a probe does in its child process."""
    return probe_process.answer(json.loads(json.dumps(request)), parts)


class Command:
    """A `batchline` command that runs until it is stopped; its output goes to a file."""

    program: tuple[str, ...] = ("-m", "batchline")

    def __init__(self, *words: str, **settings: str) -> None:
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115, closed in __exit__
        self.process = subprocess.Popen(
            [sys.executable, *self.program, *words],
            env=environment(**settings),
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def output(self) -> str:
        # The command writes at the position that the file has, so reading must not move it.
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


class HttpApi:
    """An API that listens on a port of its own, and a client for it."""

    def __init__(self, database_url: str) -> None:
        self.port, self.database_url = free_port(), database_url
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE, trust_env=False
        )

    def is_ready(self) -> bool:
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def register(self, *rows: list[float]) -> int:
        response = self.http.post("/predict", json={"data": list(rows)})
        assert response.status_code == 202, response.text
        return int(response.json()["id"])

    def read(self, item_id: int) -> dict[str, Any]:
        response = self.http.get(f"/predict/id/{item_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def wait_for_result(self, item_id: int) -> dict[str, Any]:
        """The item, once it is no longer pending."""

        def finished() -> dict[str, Any] | None:
            item = self.read(item_id)
            return None if item["status"] == "pending" else item

        return wait_for(finished, f"the end of item {item_id}")


class Service(HttpApi, Command):
    """`batchline up`, or another command that serves HTTP, as a process."""

    def __init__(self, database_url: str, *words: str, **settings: str) -> None:
        HttpApi.__init__(self, database_url)
        settings = {"DATABASE_URL": database_url, **settings}
        Command.__init__(self, *(words or ("up",)), PORT=str(self.port), **settings)

    def __enter__(self) -> Self:
        wait_for(self._ready_or_ended, "the service's start")
        assert self.process.poll() is None, self.output
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()
        super().__exit__(*exception)

    def _ready_or_ended(self) -> bool:
        return self.process.poll() is not None or self.is_ready()
