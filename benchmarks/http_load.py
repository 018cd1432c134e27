"""HTTP clients in a separate process. Each keeps its connection and has one request in progress.

`run` starts that process and returns its measurements. To use little CPU time, the clients parse
only the parts of HTTP that these servers send: a status and a Content-Length.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from types import MappingProxyType
from typing import Any

import uvloop

WARM_UP = 0.5
"""Seconds at the start that are checked but not measured. `count` begins the measurement earlier or
later."""
RESPONSE_TIMEOUT = 60.0
KEPT_BODY_BYTES = 64
"""Shorter response bodies are kept, such as those of `POST /predict`."""


@dataclass(frozen=True, slots=True)
class Load:
    """The requests that the clients send in turn, and the status that they expect."""

    port: int
    clients: int
    requests: list[str]
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements, and the response bodies that are shorter than `KEPT_BODY_BYTES`."""

    per_second: float
    milliseconds: list[float]
    bodies: list[str]

    def percentile(self, percent: float) -> float:
        """Return the response time, in milliseconds, of this percentile."""
        return sorted(self.milliseconds)[int((len(self.milliseconds) - 1) * percent / 100)]


class LoadFailed(Exception):
    """A client got an unexpected response, or none."""


def post(path: str, body: str, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a request with a JSON body as text."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}"


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run(load: Load) -> Measured:
    """Run the clients for `load.seconds`, and return their measurements."""
    with running(load) as process:
        time.sleep(load.seconds)
        return result(process)


@contextmanager
def running(load: Load) -> Iterator[subprocess.Popen[str]]:
    """Run the clients until `load.seconds` have passed or they get a SIGTERM."""
    command = [sys.executable, "-m", "benchmarks.http_load"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps(asdict(load)))
        process.stdin.close()
        process.stdin = None
        try:
            yield process
        finally:
            process.kill()


def count(process: subprocess.Popen[str]) -> None:
    """Begin the measurement now."""
    process.send_signal(signal.SIGUSR1)


def result(process: subprocess.Popen[str]) -> Measured:
    """Wait until the clients exit, and return their measurements.

    Raises:
        LoadFailed: a client got an unexpected response.
    """
    output, _ = process.communicate(timeout=RESPONSE_TIMEOUT)
    if process.returncode != 0:
        raise LoadFailed(output or f"the clients exited with {process.returncode}")
    return Measured(**json.loads(output))


# In the process of the clients -----------------------------------------------------------------


class _Clients:
    def __init__(self, load: Load) -> None:
        self.requests: Iterator[bytes] = cycle([request.encode() for request in load.requests])
        self.expected = b"HTTP/1.1 %d " % load.status
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times: list[tuple[float, float]] = []
        self.bodies: list[bytes] = []
        self.open = load.clients
        self.counted_from = time.perf_counter() + WARM_UP
        self.stopping = False

    def count(self) -> None:
        self.counted_from = time.perf_counter()

    def stop(self) -> None:
        """Wait for the responses to requests in progress, then disconnect."""
        self.stopping = True

    def responded(self, sent: float, body: bytes) -> None:
        now = time.perf_counter()
        self.times.append((now, now - sent))
        if len(body) < KEPT_BODY_BYTES:
            self.bodies.append(body)

    def fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(LoadFailed(reason))

    def one_ended(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.ended.done():
            self.ended.set_result(None)


class _Client(asyncio.Protocol):
    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._response = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._response += data
        head, end, body = self._response.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(self._clients.expected):
            expected, got = self._clients.expected, self._response[:500]
            self._clients.fail(f"a response must start with {expected!r}, got {got!r}")
            return
        length = head.lower().index(b"content-length: ") + len("content-length: ")
        if len(body) == int(head[length:].partition(b"\r")[0]):
            self._clients.responded(self._sent, body)
            self._response = b""
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._clients.stopping:
            self._clients.fail(f"the server closed a connection: {error}")

    def _send(self) -> None:
        if self._clients.stopping:
            self._transport.close()
            self._clients.one_ended()
            return
        self._sent = time.perf_counter()
        self._transport.write(next(self._clients.requests))


async def _put(load: Load) -> Measured:
    loop = asyncio.get_running_loop()
    clients = _Clients(load)
    loop.add_signal_handler(signal.SIGUSR1, clients.count)
    loop.add_signal_handler(signal.SIGTERM, clients.stop)
    loop.call_later(load.seconds, clients.stop)
    for _ in range(load.clients):
        await loop.create_connection(lambda: _Client(clients), "127.0.0.1", load.port)
    await clients.ended
    return _summary(clients)


def _summary(clients: _Clients) -> Measured:
    counted = [(at, took) for at, took in clients.times if at - took > clients.counted_from]
    if not counted:
        raise LoadFailed("the clients got no response during the measurement")
    seconds = counted[-1][0] - clients.counted_from
    bodies = [body.decode() for body in clients.bodies]
    return Measured(len(counted) / seconds, [took * 1000 for _, took in counted], bodies)


def main() -> None:
    try:
        measured = uvloop.run(_put(Load(**json.load(sys.stdin))))
    except LoadFailed as error:
        print(error)
        sys.exit(1)
    json.dump(asdict(measured), sys.stdout)


if __name__ == "__main__":
    main()
