"""Measure what checking an API key costs a registration.

Two API processes on SQLite, one with `AUTH=off` and one that requires keys, register the same rows
in turn. Each pair gives a ratio of the CPU time of the API process per request, and one of the
requests per second. The medians are reported, because the two runs of a pair found the machine in
the same state.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from batchline import api_keys
from batchline.api_keys import Role
from batchline.db.cruds import keys
from batchline.db.database import Database
from benchmarks import http_load, product, results
from benchmarks.api import wait_for_port
from benchmarks.http_load import Load, get, post
from benchmarks.iris import make_items
from benchmarks.job import positive
from devservers.server import free_port


@dataclass(frozen=True, slots=True)
class Api:
    """A running API process, and the requests that its clients send."""

    pid: int
    port: int
    requests: list[str]


@dataclass(frozen=True, slots=True)
class Cost:
    microseconds: float
    """CPU time of the API process per request."""
    per_second: float


def main() -> None:
    options = read_options()
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        bodies = [f'{{"data": {data}}}' for data in make_items(1_000)]
        with (
            api(Path(folder) / "open.db", bodies) as open_,
            api(Path(folder) / "keys.db", bodies, Role.WRITE) as guarded,
        ):
            for turn in range(options.pairs):
                in_turn = (open_, guarded) if turn % 2 else (guarded, open_)
                costs = {each.pid: measure(each, options) for each in in_turn}
                pairs.append((costs[open_.pid], costs[guarded.pid]))
                print(f"{turn + 1}: {shown(pairs[-1:])}", flush=True)
    print(f"median of {len(pairs)} pairs: {shown(pairs)}")
    results.save("keys", summary(pairs), options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keys", description=__doc__)
    parser.add_argument("--pairs", type=positive, default=20, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--clients", type=positive, default=16, metavar="N")
    parser.add_argument("--results", type=Path, default=results.FILE)
    return parser.parse_args()


def measure(api: Api, options: argparse.Namespace) -> Cost:
    load = Load(api.port, options.clients, api.requests, 202, options.seconds)
    before = cpu_seconds(api.pid)
    measured = http_load.run(load)
    used = cpu_seconds(api.pid) - before
    return Cost(used / len(measured.bodies) * 1e6, measured.per_second)


def summary(pairs: list[tuple[Cost, Cost]]) -> dict[str, float]:
    return {
        "cpu_ratio": median(with_.microseconds / without.microseconds for without, with_ in pairs),
        "per_second_ratio": median(
            with_.per_second / without.per_second for without, with_ in pairs
        ),
        "microseconds": median(without.microseconds for without, _ in pairs),
        "microseconds_with_keys": median(with_.microseconds for _, with_ in pairs),
    }


def shown(pairs: list[tuple[Cost, Cost]]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in summary(pairs).items())


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def api(file: Path, bodies: list[str], role: Role | None = None) -> Iterator[Api]:
    """Run an API on a database of its own. With a role, it requires a key with it."""
    url, port = f"sqlite:///{file}", free_port()
    product.prepare(url, make_items(1))
    headers = {} if role is None else {"Authorization": f"Bearer {add_key(url, role)}"}
    environment = product.environment(url) | {"AUTH": "off" if role is None else "on"}
    with subprocess.Popen(
        [sys.executable, "-m", "batchline", "api", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for_port(process, port)
            http_load.run(Load(port, 1, [get("/health/live")], 200, 1.0))  # until it is ready
            yield Api(process.pid, port, [post("/predict", body, headers) for body in bodies])
        finally:
            process.terminate()


def add_key(url: str, role: Role) -> str:
    key = api_keys.generate()
    database = Database(url)
    database.transaction(lambda c: keys.create(c, "benchmark", role, api_keys.digest(key)))
    database.close()
    return key


if __name__ == "__main__":
    main()
