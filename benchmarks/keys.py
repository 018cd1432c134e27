"""Measure what checking an API key costs a registration.

One process sends the same rows to the API, without a server in between, in turn with a key and with
`AUTH=off`: 32 requests at once, as in one group of a busy API. The turns are so short that other
programs disturb both alike. HTTP itself is left out, so the ratio is higher than for a client.

Then 32 clients send them over HTTP to two servers in turn, one with a key and one with `AUTH=off`.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from starlette.types import ASGIApp, Message

from batchline import api_keys
from batchline.api.app import create_app
from batchline.api.server import guarded
from batchline.api_keys import Role
from batchline.cli.exposure import rules_of
from batchline.configurations import read_settings
from batchline.db.cruds import keys
from batchline.db.database import Database
from benchmarks import http_load, product, results
from benchmarks.api import wait_for_port
from benchmarks.http_load import Load, post
from benchmarks.iris import make_items
from benchmarks.job import positive
from devservers.server import free_port

AT_ONCE = 32
HTTP_SECONDS = 2.5
"""Of one turn over HTTP."""
Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of 32 registrations: of CPU time, and of the clock."""

    cpu: float
    wall: float


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'keys.db'}"
        product.prepare(url, make_items(1))
        pairs = asyncio.run(measure(url, options.turns))
        over_http = measure_http(folder, options.http_turns)
    figures = {
        "turns": len(pairs),
        "cpu_ratio": median(with_key.cpu / without.cpu for without, with_key in pairs),
        "wall_ratio": median(with_key.wall / without.wall for without, with_key in pairs),
        "cpu_microseconds": median(each.cpu for each, _ in pairs) / AT_ONCE * 1e6,
        "cpu_microseconds_with_key": median(each.cpu for _, each in pairs) / AT_ONCE * 1e6,
        "http_turns": len(over_http),
        "http_cpu_ratio": median(with_key / without for without, with_key in over_http),
        "http_cpu_microseconds": median(each for each, _ in over_http) * 1e6,
        "http_cpu_microseconds_with_key": median(each for _, each in over_http) * 1e6,
    }
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    results.save("keys", figures, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keys", description=__doc__)
    parser.add_argument("--turns", type=positive, default=2_000, metavar="N")
    parser.add_argument("--http-turns", type=positive, default=20, metavar="N")
    parser.add_argument("--results", type=Path, default=results.FILE)
    return parser.parse_args()


async def measure(url: str, turns: int) -> list[tuple[Turn, Turn]]:
    off, on = (read_settings(database_url=url, auth=auth) for auth in ("off", "on"))
    app = create_app(off)
    fields = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    with_key = [*fields, (b"authorization", f"Bearer {add_key(url)}".encode())]
    without, guarding = guarded(app, rules_of(off)), guarded(app, rules_of(on))
    bodies = [json.dumps({"data": json.loads(data)}).encode() for data in make_items(AT_ONCE)]
    gc.disable()
    async with app.router.lifespan_context(app):
        pairs = []
        for turn in range(turns + 10):
            if turn % 2:
                one = await register(without, fields, bodies)
                other = await register(guarding, with_key, bodies)
            else:
                other = await register(guarding, with_key, bodies)
                one = await register(without, fields, bodies)
            pairs.append((one, other))
            if turn % 100 == 0:
                gc.collect()
        return pairs[10:]


async def register(app: ASGIApp, fields: Fields, bodies: list[bytes]) -> Turn:
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(app(scope(fields), body_of(body), check) for body in bodies))
    return Turn(time.process_time() - cpu, time.perf_counter() - wall)


def scope(fields: Fields) -> dict[str, object]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": fields,
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def body_of(body: bytes) -> Callable[[], object]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def check(message: Message) -> None:
    assert message.get("status", 202) == 202, message


def measure_http(folder: str, turns: int) -> list[tuple[float, float]]:
    """Return seconds of CPU time per registration: with `AUTH=off`, and with a key."""
    without, with_key = (f"sqlite:///{Path(folder) / name}" for name in ("off.db", "on.db"))
    for url in without, with_key:
        product.prepare(url, make_items(1))
    headers = {"Authorization": f"Bearer {add_key(with_key)}"}
    with serving(without, "off") as off, serving(with_key, "on") as on:
        pairs = []
        for turn in range(turns + 1):
            if turn % 2:
                one = cpu_per_request(*off, {})
                other = cpu_per_request(*on, headers)
            else:
                other = cpu_per_request(*on, headers)
                one = cpu_per_request(*off, {})
            pairs.append((one, other))
    return pairs[1:]


@contextmanager
def serving(url: str, auth: str) -> Iterator[tuple[int, int]]:
    """Yield the port and the process id of an API."""
    port = free_port()
    command = [sys.executable, "-m", "batchline", "api", "--port", str(port)]
    with subprocess.Popen(command, env=product.environment(url) | {"AUTH": auth}) as process:
        try:
            wait_for_port(process, port)
            yield port, process.pid
        finally:
            process.terminate()


def cpu_per_request(port: int, pid: int, headers: dict[str, str]) -> float:
    requests = [post("/predict", f'{{"data": {item}}}', headers) for item in make_items(1_000)]
    before = cpu_of(pid)
    measured = http_load.run(Load(port, AT_ONCE, requests, 202, HTTP_SECONDS))
    return (cpu_of(pid) - before) / (measured.per_second * HTTP_SECONDS)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def add_key(url: str) -> str:
    key = api_keys.generate()
    database = Database(url)
    database.transaction(lambda c: keys.create(c, "shop", Role.WRITE, api_keys.digest(key)))
    database.close()
    return key


if __name__ == "__main__":
    main()
