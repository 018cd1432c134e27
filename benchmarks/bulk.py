"""Compare `POST /items` with the bulk insert of a script written by hand.

Each round uses new databases and compares:

- the script, with the rows already in memory as strings: one multi-row INSERT and one COMMIT for
  each 10,000 rows, with the raw driver;
- the same script, which also reads the file and parses its lines;
- `batchline api`, which receives the file from an HTTP client over loopback.

Batchline checks each row and returns ids; the scripts do not. A run counts only if all rows are
stored unchanged and the returned ids belong to them.
"""

import argparse
import http.client
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from sqlalchemy.engine import make_url

from benchmarks import plain_script, results
from benchmarks.classifier import WrongResults
from benchmarks.iris import make_items
from benchmarks.job import DATABASES, NewDatabase, databases, known_databases, positive
from tests.service import Service, run

EPILOG = """\
A quick run on one database: --items 50000 --rounds 1 --databases sqlite
The benchmark starts and stops its own servers. `python -m devservers fetch` downloads them. The
results are saved under "bulk".
"""
CHUNK = 10_000


def main() -> None:
    options = read_options()
    found: dict[str, Any] = {"conditions": conditions(options), "databases": {}}
    print(f"{options.items:,} lines of one row, medians of {options.rounds} round(s)\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bulk-") as folder:
        items = [orjson.dumps(orjson.loads(data)).decode() for data in make_items(options.items)]
        file = Path(folder) / "items.ndjson"
        file.write_text("".join(f'{{"data": {data}}}\n' for data in items))
        for name in options.databases:
            with databases(name) as (new_database, server):
                rounds = [measure(new_database, items, file, n) for n in range(options.rounds)]
            found["databases"][name] = {"version": server, **summary(rounds)}
            print(table(name, found["databases"][name]), end="\n\n", flush=True)
    results.save("bulk", found, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bulk",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--items",
        type=positive,
        default=200_000,
        metavar="N",
        help="lines of the file, of one row each (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=5,
        metavar="N",
        help="rounds on each database; medians are reported (default: %(default)s)",
    )
    parser.add_argument(
        "--databases",
        type=known_databases,
        default="sqlite,mysql,mariadb,postgresql",
        metavar="NAMES",
        help=f"some of {','.join(DATABASES)} (default: %(default)s)",
    )
    results.add_option(parser)
    return parser.parse_args()


# Contenders ------------------------------------------------------------------------------------


def measure(new_database: NewDatabase, items: list[str], file: Path, turn: int) -> dict[str, float]:
    """Return the items per second of each contender. Each turn starts with another contender."""
    rates: dict[str, float] = {}

    def from_memory() -> None:
        rates["script"] = len(items) / insert(new_database(), items, items)

    def from_file() -> None:
        rates["script_with_file"] = len(items) / insert(new_database(), rows_of(file), items)

    def product() -> None:
        rates.update(upload(new_database(), items, file))

    contenders = [from_memory, from_file, product]
    first = turn % len(contenders)
    for contender in contenders[first:] + contenders[:first]:
        contender()
    return rates


def rows_of(file: Path) -> Iterator[str]:
    """Yield the data of each line, parsed as a script would."""
    with file.open("rb") as lines:
        for line in lines:
            yield orjson.dumps(orjson.loads(line)["data"]).decode()


def insert(url: str, rows: Iterator[str] | list[str], items: list[str]) -> float:
    """Insert the rows, and return the seconds that the script takes."""
    plain_script.prepare(url, [])
    connection = plain_script.connect(make_url(url))
    cursor = connection.cursor()
    started = time.perf_counter()
    remaining = iter(rows)
    while chunk := list(islice(remaining, CHUNK)):
        insert_chunk(connection, cursor, chunk)
        connection.commit()
    seconds = time.perf_counter() - started
    connection.close()
    check(url, items)
    return seconds


def insert_chunk(connection: Any, cursor: Any, chunk: Sequence[str]) -> None:
    values = f"({placeholder(connection)})"
    cursor.execute(f"INSERT INTO items (data) VALUES {', '.join([values] * len(chunk))}", chunk)


def placeholder(connection: Any) -> str:
    return "?" if "sqlite3" in type(connection).__module__ else "%s"


def upload(url: str, items: list[str], file: Path) -> dict[str, float]:
    """Return the items per second of an upload, and the latencies of single registrations."""
    upgraded = run("db", "upgrade", DATABASE_URL=url)
    if upgraded.returncode != 0:
        raise RuntimeError(upgraded.stderr)
    with Service(url, "api") as api:
        send(api.port, b'{"data": [[1, 2, 3, 4]]}\n' * CHUNK)  # warms up
        started = time.perf_counter()
        response = send(api.port, file.read_bytes())
        rate = len(items) / (time.perf_counter() - started)
        check_response(url, response, items)
        return {"product": rate, **latencies(api, file)}


def send(port: int, body: bytes) -> list[dict[str, Any]]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    client.request("POST", "/items", body)
    response = [orjson.loads(line) for line in client.getresponse().read().splitlines()]
    client.close()
    return response


def latencies(api: Service, file: Path) -> dict[str, float]:
    """Return the 99th percentile of `POST /predict` in ms: without and during an upload."""
    alone = [registration(api) for _ in range(300)]
    sender = threading.Thread(target=send, args=(api.port, file.read_bytes()))
    sender.start()
    beside = [registration(api)]
    while sender.is_alive():
        beside.append(registration(api))
    sender.join()
    return {"predict_p99_alone": p99(alone), "predict_p99_beside": p99(beside)}


def registration(api: Service) -> float:
    started = time.perf_counter()
    api.register([5.1, 3.5, 1.4, 0.2])
    return 1_000 * (time.perf_counter() - started)


def p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


# Checking --------------------------------------------------------------------------------------


def check(url: str, items: list[str], first_id: int = 0) -> None:
    """Check that exactly these items are stored in this order, beginning with `first_id`.

    Raises:
        WrongResults: they are not.
    """
    connection = plain_script.connect(make_url(url))
    cursor = connection.cursor()
    cursor.execute(f"SELECT data FROM items WHERE id >= {first_id} ORDER BY id")
    stored = [data for (data,) in cursor.fetchall()]
    connection.close()
    if stored != items:
        raise WrongResults(f"{len(stored)} of {len(items)} items are stored, or others are")


def check_response(url: str, response: list[dict[str, Any]], items: list[str]) -> None:
    """Check that the response reports an id for each line."""
    *ranges, end = response
    if not end["done"] or end["registered"] != len(items):
        raise WrongResults(f"the response ends with {end}")
    lines = sum(each["lines"][1] - each["lines"][0] + 1 for each in ranges)
    if lines != len(items) or any("ids" not in each for each in ranges):
        raise WrongResults(f"the response reports {lines} of {len(items)} lines")
    check(url, items, ranges[0]["ids"][0])


# Results ---------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "items": options.items,
        "rounds": options.rounds,
    }


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    ratios = {
        "product_to_script": [each["product"] / each["script"] for each in rounds],
        "product_to_script_with_file": [
            each["product"] / each["script_with_file"] for each in rounds
        ],
    }
    rates = ("script", "script_with_file", "product")
    return {
        "ratios": {name: round(median(values), 2) for name, values in ratios.items()},
        "items_per_second": {n: round(median(each[n] for each in rounds)) for n in rates},
        "milliseconds": {
            name: round(median(each[name] for each in rounds), 1)
            for name in ("predict_p99_alone", "predict_p99_beside")
        },
        "rounds": [{name: round(each[name]) for name in rates} for each in rounds],
    }


def table(name: str, found: dict[str, Any]) -> str:
    ratios, rates, waits = found["ratios"], found["items_per_second"], found["milliseconds"]
    rows = [
        ("Batchline / script", f"{ratios['product_to_script']:.2f} x"),
        (
            "Batchline / script that reads the file",
            f"{ratios['product_to_script_with_file']:.2f} x",
        ),
        ("script", f"{rates['script']:,} rows/s"),
        ("script that reads the file", f"{rates['script_with_file']:,} rows/s"),
        ("Batchline", f"{rates['product']:,} rows/s"),
        ("POST /predict without an upload, p99", f"{waits['predict_p99_alone']} ms"),
        ("POST /predict during an upload, p99", f"{waits['predict_p99_beside']} ms"),
    ]
    lines = [f"  {label:<40}{figure:>18}" for label, figure in rows]
    return "\n".join([f"{name} {found['version']}", *lines])


if __name__ == "__main__":
    main()
