"""Compare the API with the one that a team writes first and with the framework alone.

On each database and in each round, one after the other, each as one process: the seed's API
(benchmarks/seed_api.py), the real command `batchline api`, and FastAPI without any database
(benchmarks/framework_api.py). Clients keep their connections and have one request in flight each.
At the end of a round, 8 clients register while a `batchline job` predicts a backlog. Every run is
checked: all ids that were answered are distinct and stored, or there is no figure. Ratios are the
medians of the rounds' own ratios, because what ran within the same minute met the same machine.
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
from benchmarks.http_load import Load, Seen, get, post
from benchmarks.iris import make_items
from benchmarks.job import NewDatabase, databases, known_databases, positive
from devservers.server import free_port

READABLE = 1_000
"""Predicted items in the database that is read from; a page is 100 of them."""
JOB_CLIENTS = 8
START_TIMEOUT = 30.0
JOB_TIMEOUT = 300.0

EPILOG = """\
A quick look at one database: --seconds 3 --rounds 1 --databases sqlite --backlog 50000
Servers are private ones that start and end with the benchmark; `python -m devservers fetch` gets
them. Clients, API and database server share the machine: with two cores, what one of them takes
the others lack. Close what else uses it, and distrust a single round.
"""


@dataclass(frozen=True, slots=True)
class Round:
    """Requests per second, and the 99th percentile of the time to the answer in milliseconds."""

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
    """An id was answered twice, or is not stored, so the rate means nothing."""


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


# What to do ------------------------------------------------------------------------------------


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
        help=f"clients at once; beside the job there are always {JOB_CLIENTS} "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=5,
        metavar="S",
        help="how long each load lasts; the first half second does not count "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--backlog",
        type=positive,
        default=200_000,
        metavar="N",
        help="pending items of one row that the job finds; below 50,000 it may be done with them "
        "before much was measured (default: %(default)s)",
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
    """One round. Who begins changes with the turn: the first may find a colder server."""
    url = new_database()
    product.prepare(url, make_items(READABLE))
    product.run(url)
    samples: dict[str, str] = {}
    with batchline_api(url) as port:
        samples["BENCHMARK_ITEM"] = fetch(port, "/predict/id/1")
        samples["BENCHMARK_PAGE"] = fetch(port, "/items?limit=100")
    figures: dict[str, float] = {}

    def register(name: str, port: int) -> Seen:
        seen = http_load.run(posts(port, options.clients, options.seconds))
        figures[name], figures[f"{name}_p99"] = seen.per_second, seen.percentile(99)
        return seen

    def read(name: str, port: int) -> None:
        items = [get(f"/predict/id/{item_id}") for item_id in range(1, READABLE + 1)]
        for what, requests in ("item", items), ("page", [get("/items?limit=100")]):
            load = Load(port, options.clients, requests, 200, options.seconds)
            figures[f"{name}_{what}"] = http_load.run(load).per_second

    def seed() -> None:
        fresh = new_database()
        with uvicorn("benchmarks.seed_api:app", DATABASE_URL=fresh) as port:
            seen = register("seed", port)
        check_ids(seen, fresh, "seed_items")

    def ours() -> None:
        with batchline_api(url) as port:
            read("product", port)
            seen = register("product", port)
        check_ids(seen, url, "items")

    def framework() -> None:
        with uvicorn("benchmarks.framework_api:app", **samples) as port:
            read("framework", port)
            register("framework", port)

    contenders = [seed, ours, framework]
    first = turn % len(contenders)
    for contender in contenders[first:] + contenders[:first]:
        contender()
    seen = register_beside_job(new_database(), options.backlog)
    return Round(**figures, beside_job=seen.per_second, beside_job_p99=seen.percentile(99))


def register_beside_job(url: str, backlog: int) -> Seen:
    """Register all the time; what counts is from when the job begins until its backlog is done."""
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
        seen = http_load.result(clients)
    check_ids(seen, url, "items")
    return seen


def posts(port: int, clients: int, seconds: float) -> Load:
    requests = [post("/predict", f'{{"data": {item}}}') for item in make_items(1_000)]
    return Load(port, clients, requests, 202, seconds)


def check_ids(seen: Seen, url: str, table: str) -> None:
    """Every id that was answered was answered once, and is stored.

    Raises:
        WrongIds: otherwise.
    """
    answered = [json.loads(body)["id"] for body in seen.bodies]
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = set(connection.execute(text(f"SELECT id FROM {table}")).scalars())
    engine.dispose()
    if len(set(answered)) != len(answered):
        raise WrongIds(f"{len(answered)} answers with {len(set(answered))} ids")
    if not stored.issuperset(answered):
        raise WrongIds(f"{len(set(answered) - stored)} ids were answered and are not stored")


@contextmanager
def polling(url: str) -> Iterator[Callable[[str], bool]]:
    """A function that tells whether there is a row."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def exists(what: str) -> bool:
        with engine.connect() as connection:
            return connection.execute(text(f"SELECT 1 {what} LIMIT 1")).first() is not None

    yield exists
    engine.dispose()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + JOB_TIMEOUT
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"the job did not get there in {JOB_TIMEOUT} seconds")
        time.sleep(0.02)


# Servers ---------------------------------------------------------------------------------------


@contextmanager
def batchline_api(url: str) -> Iterator[int]:
    port = free_port()
    with server(["batchline", "api", "--port", str(port)], product.environment(url), port):
        yield port


@contextmanager
def uvicorn(app: str, **environment: str) -> Iterator[int]:
    """As anybody runs it; without its access log, for the product has none either."""
    port = free_port()
    command = ["uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with server(command, {**os.environ, **environment}, port):
        yield port


@contextmanager
def server(
    command: list[str], environment: dict[str, str], port: int | None = None
) -> Iterator[None]:
    """A Python module at work for the length of the block."""
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
    raise RuntimeError(f"{process.args!r} does not listen")


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
        return str(response.read().decode())


# Telling ---------------------------------------------------------------------------------------


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Medians, and the single rounds, so that a reader sees how far they lie apart."""
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
    """All that somebody needs in order to repeat it, and nothing that names the machine."""
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
        ("POST /predict, product / seed", f"{ratios['product_to_seed']:.1f} x"),
        ("POST /predict, product / framework", f"{ratios['product_to_framework']:.2f} x"),
        ("GET /predict/id, product / framework", f"{ratios['item_product_to_framework']:.2f} x"),
        ("GET /items, product / framework", f"{ratios['page_product_to_framework']:.2f} x"),
        ("POST /predict, seed", with_p99("seed")),
        ("POST /predict, product", with_p99("product")),
        ("POST /predict, framework", with_p99("framework")),
        ("GET /predict/id, product", rate("product_item")),
        ("GET /predict/id, framework", rate("framework_item")),
        ("GET /items, product", rate("product_page")),
        ("GET /items, framework", rate("framework_page")),
        ("POST /predict beside the job", with_p99("beside_job")),
    ]
    lines = [f"  {label:<38}{figure:>26}" for label, figure in rows]
    return "\n".join([f"{name} {found['version']}", *lines])


if __name__ == "__main__":
    main()
