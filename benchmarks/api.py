"""Compare the API with a naive API and with the framework alone.

In each round on each database, three processes run one after the other: the naive API
(benchmarks/seed_api.py), the command `batchline api`, and FastAPI without a database
(benchmarks/framework_api.py). Each client keeps its connection and has one request in progress. At
the end of a round, 8 clients register items while `batchline job` predicts a backlog. A run counts
only if all returned ids are distinct and stored. The reported ratio is the median of the ratios of
each round, because the contenders of one round found the machine in the same state.
"""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks import http_load, product, results
from benchmarks.http_load import Load, Measured, get, post
from benchmarks.iris import make_items
from benchmarks.job import NewDatabase, databases, known_databases, positive
from devservers.server import free_port

READABLE = 1_000
"""Predicted items in the database that the clients read from. A page has 100 of them."""
JOB_CLIENTS = 8
START_TIMEOUT = 30.0
JOB_TIMEOUT = 300.0

EPILOG = """\
A quick run on one database: --seconds 3 --rounds 1 --databases sqlite --backlog 50000
The benchmark starts and stops its own servers. `python -m devservers fetch` downloads them.
Clients, API and database server share the CPU cores of the machine. Close other programs, and do
not rely on a single round.
"""


@dataclass(frozen=True, slots=True)
class Round:
    """Requests per second, and the 99th percentile of the response time in milliseconds."""

    seed: float
    product: float
    framework: float
    seed_p99: float
    product_p99: float
    framework_p99: float
    product_item: float
    framework_item: float
    product_page: float
    framework_page: float
    beside_job: float
    beside_job_p99: float

    def ratios(self) -> dict[str, float]:
        return {
            "product_to_seed": self.product / self.seed,
            "product_to_framework": self.product / self.framework,
            "item_product_to_framework": self.product_item / self.framework_item,
            "page_product_to_framework": self.product_page / self.framework_page,
        }


class WrongIds(Exception):
    """The API returned an id twice, or did not store it, so its rate does not count."""


def main() -> None:
    options = read_options()
    figures: dict[str, Any] = {"conditions": conditions(options), "databases": {}}
    print(announcement(options), end="\n\n", flush=True)
    for name in options.databases:
        with databases(name) as (new_database, server):
            rounds = [measure(new_database, options, turn) for turn in range(options.rounds)]
        figures["databases"][name] = {"version": server, **summary(rounds)}
        print(table(name, figures["databases"][name]), end="\n\n", flush=True)
    results.save("api", figures, options.results)


# Options ---------------------------------------------------------------------------------------


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.api",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--clients",
        type=positive,
        default=32,
        metavar="N",
        help=f"concurrent clients; while a job runs, {JOB_CLIENTS} (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=5,
        metavar="S",
        help="seconds of each load, of which the first 0.5 do not count (default: %(default)s)",
    )
    parser.add_argument(
        "--backlog",
        type=positive,
        default=200_000,
        metavar="N",
        help="pending items of one row for the job; below 50,000, the job may finish before enough "
        "requests were measured (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=3,
        metavar="N",
        help="rounds on each database; medians are reported (default: %(default)s)",
    )
    parser.add_argument(
        "--databases",
        type=known_databases,
        default="sqlite,mysql",
        metavar="NAMES",
        help="some of sqlite,mysql,mariadb,postgresql (default: %(default)s)",
    )
    results.add_option(parser)
    return parser.parse_args()


# Measuring -------------------------------------------------------------------------------------


def measure(new_database: NewDatabase, options: argparse.Namespace, turn: int) -> Round:
    """Measure one round. Each turn starts with another contender, since the server warms up."""
    url = new_database()
    product.prepare(url, make_items(READABLE))
    product.run(url)
    samples: dict[str, str] = {}
    with batchline_api(url) as port:
        samples["BENCHMARK_ITEM"] = fetch(port, "/predict/id/1")
        samples["BENCHMARK_PAGE"] = fetch(port, "/items?limit=100")
    figures: dict[str, float] = {}

    def register(name: str, port: int) -> Measured:
        measured = http_load.run(posts(port, options.clients, options.seconds))
        figures[name], figures[f"{name}_p99"] = measured.per_second, measured.percentile(99)
        return measured

    def read(name: str, port: int) -> None:
        items = [get(f"/predict/id/{item_id}") for item_id in range(1, READABLE + 1)]
        for kind, requests in ("item", items), ("page", [get("/items?limit=100")]):
            load = Load(port, options.clients, requests, 200, options.seconds)
            figures[f"{name}_{kind}"] = http_load.run(load).per_second

    def seed() -> None:
        fresh = new_database()
        with uvicorn("benchmarks.seed_api:app", DATABASE_URL=fresh) as port:
            measured = register("seed", port)
        check_ids(measured, fresh, "seed_items")

    def ours() -> None:
        with batchline_api(url) as port:
            read("product", port)
            measured = register("product", port)
        check_ids(measured, url, "items")

    def framework() -> None:
        with uvicorn("benchmarks.framework_api:app", **samples) as port:
            read("framework", port)
            register("framework", port)

    contenders = [seed, ours, framework]
    first = turn % len(contenders)
    for contender in contenders[first:] + contenders[:first]:
        contender()
    measured = register_beside_job(new_database(), options.backlog)
    return Round(**figures, beside_job=measured.per_second, beside_job_p99=measured.percentile(99))


def register_beside_job(url: str, backlog: int) -> Measured:
    """Register items, and measure from the start of the job until it has predicted its backlog."""
    product.prepare(url, make_items(backlog))
    with (
        batchline_api(url) as port,
        polling(url) as exists,
        http_load.running(posts(port, JOB_CLIENTS, JOB_TIMEOUT)) as clients,
        server(["batchline", "job"], product.environment(url)),
    ):
        wait_until(lambda: exists("FROM runs"))
        http_load.count(clients)
        wait_until(lambda: not exists(f"FROM items WHERE status='pending' AND id <= {backlog}"))
        clients.send_signal(signal.SIGTERM)
        measured = http_load.result(clients)
    check_ids(measured, url, "items")
    return measured


def posts(port: int, clients: int, seconds: float) -> Load:
    requests = [post("/predict", f'{{"data": {item}}}') for item in make_items(1_000)]
    return Load(port, clients, requests, 202, seconds)


def check_ids(measured: Measured, url: str, table: str) -> None:
    """Check that every returned id was returned once and is stored.

    Raises:
        WrongIds: it was not.
    """
    returned = [json.loads(body)["id"] for body in measured.bodies]
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = set(connection.execute(text(f"SELECT id FROM {table}")).scalars())
    engine.dispose()
    if len(set(returned)) != len(returned):
        raise WrongIds(f"{len(returned)} responses with {len(set(returned))} different ids")
    if not stored.issuperset(returned):
        raise WrongIds(f"{len(set(returned) - stored)} of {len(returned)} ids are not stored")


@contextmanager
def polling(url: str) -> Iterator[Callable[[str], bool]]:
    """Yield a function that returns whether a `FROM …` clause finds a row."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def exists(clause: str) -> bool:
        with engine.connect() as connection:
            return connection.execute(text(f"SELECT 1 {clause} LIMIT 1")).first() is not None

    yield exists
    engine.dispose()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + JOB_TIMEOUT
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"the job was not done after {JOB_TIMEOUT} seconds")
        time.sleep(0.02)


# Servers ---------------------------------------------------------------------------------------


@contextmanager
def batchline_api(url: str) -> Iterator[int]:
    port = free_port()
    with server(["batchline", "api", "--port", str(port)], product.environment(url), port):
        yield port


@contextmanager
def uvicorn(app: str, **environment: str) -> Iterator[int]:
    """Run an application with uvicorn's defaults, without an access log, as Batchline does."""
    port = free_port()
    command = ["uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with server(command, {**os.environ, **environment}, port):
        yield port


@contextmanager
def server(
    command: list[str], environment: dict[str, str], port: int | None = None
) -> Iterator[None]:
    """Run a Python module during the block."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            if port:
                wait_for_port(process, port)
            yield
        finally:
            process.terminate()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not listen on port {port}")


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
        return str(response.read().decode())


# Results ---------------------------------------------------------------------------------------


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Return medians, and the single rounds to show how much they vary."""
    return {
        "ratios": _medians([each.ratios() for each in rounds], digits=2),
        "figures": _medians([asdict(each) for each in rounds], digits=1),
        "rounds": [
            {name: round(figure, 1) for name, figure in asdict(each).items()} for each in rounds
        ],
    }


def _medians(rows: list[dict[str, float]], digits: int) -> dict[str, float]:
    return {name: round(median(row[name] for row in rows), digits) for name in rows[0]}


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Return the conditions under which to repeat the benchmark, without naming the machine."""
    libraries = ("batchline", "fastapi", "starlette", "uvicorn", "uvloop", "httptools")
    libraries += ("sqlalchemy", "pymysql", "psycopg")
    return {
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
        "cores": os.cpu_count(),
        "clients": options.clients,
        "clients_beside_job": JOB_CLIENTS,
        "backlog": options.backlog,
        "seconds": options.seconds,
        "rounds": options.rounds,
    }


def announcement(options: argparse.Namespace) -> str:
    return (
        f"{options.clients} clients, {options.seconds} s each, medians of {options.rounds} "
        f"round(s), {os.cpu_count()} cores, Python {platform.python_version()}."
    )


def table(name: str, found: dict[str, Any]) -> str:
    ratios, figures = found["ratios"], found["figures"]

    def rate(key: str) -> str:
        return f"{figures[key]:,.0f}/s"

    def with_p99(key: str) -> str:
        return f"{rate(key)}, p99 {figures[f'{key}_p99']:.1f} ms"

    rows = [
        ("POST /predict, Batchline / naive API", f"{ratios['product_to_seed']:.1f} x"),
        ("POST /predict, Batchline / framework", f"{ratios['product_to_framework']:.2f} x"),
        ("GET /predict/id, Batchline / framework", f"{ratios['item_product_to_framework']:.2f} x"),
        ("GET /items, Batchline / framework", f"{ratios['page_product_to_framework']:.2f} x"),
        ("POST /predict, naive API", with_p99("seed")),
        ("POST /predict, Batchline", with_p99("product")),
        ("POST /predict, framework", with_p99("framework")),
        ("GET /predict/id, Batchline", rate("product_item")),
        ("GET /predict/id, framework", rate("framework_item")),
        ("GET /items, Batchline", rate("product_page")),
        ("GET /items, framework", rate("framework_page")),
        ("POST /predict during a batch", with_p99("beside_job")),
    ]
    lines = [f"  {label:<40}{figure:>26}" for label, figure in rows]
    return "\n".join([f"{name} {found['version']}", *lines])


if __name__ == "__main__":
    main()
