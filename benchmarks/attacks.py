"""Attack the API with clients that send or read badly, and measure what the other clients notice.

Before the attacks and during each one, 8 clients register items. For each attack the table has what
was sent, the peak memory of a process that served only this attack, and the 99th percentile of the
clients' response times against that of the same process without the attack.
"""

import argparse
import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from batchline.constants import MAX_PAGE_BYTES
from benchmarks import http_load, product
from benchmarks.api import posts, wait_for_port
from benchmarks.iris import make_items
from benchmarks.job import positive
from devservers.server import free_port

CLIENTS = 8
BAD_CLIENTS = 100
MANY_CONNECTIONS = 3_000
LONG_LINES = 500
HEAD = b"GET /items HTTP/1.1\r\nHost: localhost\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = b"POST /items HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
LARGE = '"' + "x" * (MAX_PAGE_BYTES - 1_000) + '"'
BYTES_PER_SECOND = 1_200


class Attacker:
    """Bad clients. Each connects again as soon as the API drops it."""

    def __init__(self, port: int, over: threading.Event) -> None:
        self._port, self._over = port, over
        self.sent = 0

    def send_endlessly(self, begin: bytes, more: bytes) -> None:
        """Send without an end, as fast as one connection goes."""
        while not self._over.is_set():
            with suppress(OSError), self._connect(begin) as client:
                while not self._over.is_set():
                    self.sent += client.send(more)

    def send_slowly(self, count: int, begin: bytes, more: bytes) -> None:
        """Send a little on each of many connections every second."""
        clients: list[socket.socket] = []
        while not self._over.is_set():
            clients = [client for client in clients if self._send(client, more)]
            with suppress(OSError):
                while len(clients) < count and not self._over.is_set():
                    clients.append(self._connect(begin))
            self._over.wait(1)
        for client in clients:
            client.close()

    def read_nothing(self, count: int) -> None:
        """Ask for large pages on many connections, and do not read them."""
        self.send_slowly(count, HEAD + b"\r\n", b"")

    def _connect(self, begin: bytes) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(5)
        client.connect(("127.0.0.1", self._port))
        client.sendall(begin)
        self.sent += len(begin)
        return client

    def _send(self, client: socket.socket, more: bytes) -> bool:
        try:
            client.sendall(more)
            self.sent += len(more)
            return not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError:
            client.close()
            return False


@dataclass(frozen=True, slots=True)
class Attack:
    """A row of the table."""

    what: str
    run: Callable[[Attacker], None]


LINE = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]}).encode() + b"\n"
LONG_LINE = LINE.rstrip() + b" " * 8_000_000 + b"\n"
SLOW_LINES = LINE * (BYTES_PER_SECOND // len(LINE))
ATTACKS = [
    Attack("none", lambda attacker: None),
    Attack(
        "one connection, endless header fields",
        lambda attacker: attacker.send_endlessly(HEAD, b"X-Field: 1\r\n" * 5_000),
    ),
    Attack(
        "one connection, an endless header field",
        lambda attacker: attacker.send_endlessly(HEAD + b"X: ", b"x" * 60_000),
    ),
    Attack(
        "one connection, requests without waiting for responses",
        lambda attacker: attacker.send_endlessly(b"", LIVE * 2_000),
    ),
    Attack(
        f"{MANY_CONNECTIONS:,} connections that send a head byte by byte",
        lambda attacker: attacker.send_slowly(MANY_CONNECTIONS, HEAD + b"X: ", b"x"),
    ),
    Attack(
        f"{BAD_CLIENTS} clients that do not read pages of 8 MiB",
        lambda attacker: attacker.read_nothing(BAD_CLIENTS),
    ),
    Attack(
        f"{BAD_CLIENTS} uploads at {BYTES_PER_SECOND / 1000:.1f} kB/s",
        lambda attacker: attacker.send_slowly(BAD_CLIENTS, UPLOAD, SLOW_LINES),
    ),
    Attack(
        f"{LONG_LINES} uploads of a line that does not end",
        lambda attacker: attacker.send_slowly(LONG_LINES, UPLOAD, b"x" * 1_000_000),
    ),
    Attack(
        f"{BAD_CLIENTS} uploads of lines of 8 MB",
        lambda attacker: attacker.send_slowly(BAD_CLIENTS, UPLOAD, LONG_LINE),
    ),
]


def main() -> None:
    options = read_options()
    print("| attack | sent | seconds | peak memory | p99 of registrations | without | health |")
    print("|---|---|---|---|---|---|---|")
    for attack in ATTACKS:
        print(row(attack, options.seconds), flush=True)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=positive,
        default=10,
        metavar="S",
        help="seconds of each attack (default: %(default)s)",
    )
    return parser.parse_args()


def row(attack: Attack, seconds: float) -> str:
    """Run an attack on a new API, and return its row of the table."""
    with api() as (process, port):
        without = http_load.run(posts(port, CLIENTS, seconds / 2)).percentile(99)
        over = threading.Event()
        attacker = Attacker(port, over)
        thread = threading.Thread(target=attack.run, args=[attacker])
        thread.start()
        try:
            with http_load.running(posts(port, CLIENTS, seconds)) as clients:
                longest = longest_health_check(port, seconds)
                during = http_load.result(clients).percentile(99)
        finally:
            over.set()
            thread.join()
        memory = peak_memory(process)
    cells = [
        attack.what,
        f"{attacker.sent / 1e6:,.1f} MB",
        f"{seconds:g}",
        f"{memory / 1e6:,.0f} MB",
        f"{during:.1f} ms",
        f"{without:.1f} ms",
        f"{longest * 1000:.0f} ms",
    ]
    return f"| {' | '.join(cells)} |"


def longest_health_check(port: int, seconds: float) -> float:
    """Check the health on a new connection each second, and return the longest response time."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=60) as got:
            got.read()
        longest = max(longest, time.monotonic() - began)
        time.sleep(1)
    return longest


@contextmanager
def api() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `batchline api` on a new SQLite database whose first item has a large prediction."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attacks.db"
        url, port = f"sqlite:///{path}", free_port()
        product.prepare(url, make_items(1))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE items SET status = 'succeeded'")
            insert = "INSERT INTO predictions (item_id, model_id, prediction) VALUES (1, 1, ?)"
            connection.execute(insert, (LARGE,))
        command = [sys.executable, "-m", "batchline", "api", "--port", str(port)]
        environment = product.environment(url) | {"LOG_LEVEL": "ERROR"}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for_port(process, port)
                yield process, port
            finally:
                process.terminate()


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Return the most bytes that a process has had in memory. Linux only."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
