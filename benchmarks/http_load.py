"""HTTP clients in a process of their own, one request in flight each, on connections they keep.

`run` starts that process and gives back what it saw. It must not take the core that it measures,
so it knows no more of HTTP than these servers answer: a status and a Content-Length.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

import uvloop

WARM_UP = 0.5
"""Seconds whose requests count for the checks, but not for the figures, unless `count` says from
when on they do."""
ANSWER_TIMEOUT = 60.0
LONG = 64
"""Bodies from this size on are not kept; the answers to `POST /predict` are shorter."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients shall do; each of `requests` is sent as often as the others."""

    port: int
    clients: int
    requests: list[str]
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back; of the bodies only those that are shorter than `LONG`."""

    per_second: float
    milliseconds: list[float]
    bodies: list[str]

    def percentile(self, percent: float) -> float:
        """The time within which so many percent of the requests were answered."""
        return sorted(self.milliseconds)[int((len(self.milliseconds) - 1) * percent / 100)]


class LoadFailed(Exception):
    """A request was not answered as it should be."""


def post(path: str, body: str) -> str:
    """A request with a JSON body, as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run(load: Load) -> Seen:
    """Put a load on a server for a while."""
    with running(load) as process:
        time.sleep(load.seconds)
        return result(process)


@contextmanager
def running(load: Load) -> Iterator[subprocess.Popen[str]]:
    """The clients, at work until the time is over or they get a SIGTERM."""
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
    """Let the figures begin now."""
    process.send_signal(signal.SIGUSR1)


def result(process: subprocess.Popen[str]) -> Seen:
    """What the clients saw; waits for their end.

    Raises:
        LoadFailed: they saw something else than they should.
    """
    output, _ = process.communicate(timeout=ANSWER_TIMEOUT)
    if process.returncode != 0:
        raise LoadFailed(output or f"the clients ended with {process.returncode}")
    return Seen(**json.loads(output))


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
        """Let what is in flight be answered, then end."""
        self.stopping = True

    def answered(self, sent: float, body: bytes) -> None:
        now = time.perf_counter()
        self.times.append((now, now - sent))
        if len(body) < LONG:
            self.bodies.append(body)

    def fail(self, what: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(LoadFailed(what))

    def one_ended(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.ended.done():
            self.ended.set_result(None)


class _Client(asyncio.Protocol):
    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._answer = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(self._clients.expected):
            self._clients.fail(f"{self._answer[:500]!r} is not {self._clients.expected!r}")
            return
        length = head.lower().index(b"content-length: ") + len("content-length: ")
        if len(body) == int(head[length:].partition(b"\r")[0]):
            self._clients.answered(self._sent, body)
            self._answer = b""
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


async def _put(load: Load) -> Seen:
    loop = asyncio.get_running_loop()
    clients = _Clients(load)
    loop.add_signal_handler(signal.SIGUSR1, clients.count)
    loop.add_signal_handler(signal.SIGTERM, clients.stop)
    loop.call_later(load.seconds, clients.stop)
    for _ in range(load.clients):
        await loop.create_connection(lambda: _Client(clients), "127.0.0.1", load.port)
    await clients.ended
    return _summary(clients)


def _summary(clients: _Clients) -> Seen:
    counted = [(at, took) for at, took in clients.times if at - took > clients.counted_from]
    if not counted:
        raise LoadFailed("nothing was answered in the time that counts")
    seconds = counted[-1][0] - clients.counted_from
    bodies = [body.decode() for body in clients.bodies]
    return Seen(len(counted) / seconds, [took * 1000 for _, took in counted], bodies)


def main() -> None:
    try:
        seen = uvloop.run(_put(Load(**json.load(sys.stdin))))
    except LoadFailed as error:
        print(error)
        sys.exit(1)
    json.dump(asdict(seen), sys.stdout)


if __name__ == "__main__":
    main()
