"""Compare the batch job with a naive loop and with a script written by hand.

Each round runs three contenders on new databases: the naive loop (benchmarks/seed_loop.py), the
plain script (benchmarks/plain_script.py), and the command `batchline job --once`. A run counts only
if all predictions are stored and a sample of them equals the model's. The reported ratio is the
median of the ratios of each round, because the contenders of one round found the machine in the
same state.
"""

import argparse
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import devservers
from benchmarks import iris, plain_script, product, results, seed_loop
from benchmarks.classifier import check
from benchmarks.iris import make_items

DATABASES = ("sqlite", *devservers.NAMES)

EPILOG = """\
A quick run on one database: --items 5000 --rounds 1 --databases sqlite
The benchmark starts and stops its own servers. `python -m devservers fetch` downloads them. Close
other programs, and do not rely on a single round.
"""

NewDatabase = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Round:
    """Items per second of each contender, measured one after the other."""

    seed: float
    script: float
    product: float
    product_with_start: float

    def ratios(self) -> dict[str, float]:
        return {
            "product_to_seed": self.product / self.seed,
            "product_to_script": self.product / self.script,
            "product_with_start_to_seed": self.product_with_start / self.seed,
        }


def main() -> None:
    options = read_options()
    figures: dict[str, Any] = {"conditions": conditions(options), "databases": {}}
    print(announcement(options), end="\n\n", flush=True)
    for name in options.databases:
        with databases(name) as (new_database, server):
            rounds = [measure(new_database, options, turn) for turn in range(options.rounds)]
        figures["databases"][name] = {"version": server, **summary(rounds)}
        print(table(name, figures["databases"][name]), end="\n\n", flush=True)
    results.save("job", figures, options.results)


# Options ---------------------------------------------------------------------------------------


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.job",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--items",
        type=positive,
        default=10_000,
        metavar="N",
        help="items of one row for the script and Batchline; with more items, the start of the "
        "process counts less (default: %(default)s)",
    )
    parser.add_argument(
        "--seed-items",
        type=positive,
        default=5_000,
        metavar="N",
        help="items for the slow naive loop; its rates with 5000 and 10000 items differed by less "
        "than 4 %% (default: %(default)s, at most --items)",
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
        default="sqlite,mysql,mariadb,postgresql",
        metavar="NAMES",
        help=f"some of {','.join(DATABASES)} (default: %(default)s)",
    )
    results.add_option(parser)
    options = parser.parse_args()
    options.seed_items = min(options.seed_items, options.items)
    return options


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be an integer above 0, got {text!r}")
    return int(text)


def known_databases(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in DATABASES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"must be some of {', '.join(DATABASES)}, got {unknown[0]!r}"
        )
    return names


@contextmanager
def databases(name: str) -> Iterator[tuple[NewDatabase, str]]:
    """Yield a function that creates a database of this kind, and the server's version.

    A server that is not available stops the benchmark, so that the results have no gaps.
    """
    if name != "sqlite":
        with devservers.start(name) as server:
            yield server.create_database, server.version
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:

        def new_database() -> str:
            return f"sqlite:///{tempfile.mkdtemp(dir=folder)}/benchmark.db"

        yield new_database, sqlite3.sqlite_version


# Measuring -------------------------------------------------------------------------------------


def measure(new_database: NewDatabase, options: argparse.Namespace, turn: int) -> Round:
    """Measure one round. Each turn starts with another contender, since the server warms up."""
    items = make_items(options.items)
    rates: dict[str, float] = {}

    def seed() -> None:
        few = items[: options.seed_items]
        rates["seed"] = len(few) / run_checked(seed_loop, new_database(), few)

    def script() -> None:
        rates["script"] = len(items) / run_checked(plain_script, new_database(), items)

    def job() -> None:
        took = run_checked(product, new_database(), items)
        rates["product"] = len(items) / took.run
        rates["product_with_start"] = len(items) / took.process

    contenders = [seed, script, job]
    first = turn % len(contenders)
    for contender in contenders[first:] + contenders[:first]:
        contender()
    return Round(**rates)


def run_checked(contender: Any, url: str, items: list[str]) -> Any:
    """Run a contender, check its results and return the time that it took."""
    contender.prepare(url, items)
    took = contender.run(url)
    check(contender.stored_items(url), len(items), iris.load())
    return took


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Return medians, and the single rounds to show how much they vary."""
    return {
        "ratios": _medians([each.ratios() for each in rounds], digits=2),
        "items_per_second": _medians([asdict(each) for each in rounds], digits=None),
        "rounds": [{name: round(rate) for name, rate in asdict(each).items()} for each in rounds],
    }


def _medians(rows: list[dict[str, float]], digits: int | None) -> dict[str, float]:
    return {name: round(median(row[name] for row in rows), digits) for name in rows[0]}


# Results ---------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Return the conditions under which to repeat the benchmark, without naming the machine."""
    libraries = ("batchline", "onnxruntime", "sqlalchemy", "pymysql", "psycopg")
    return {
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
        "cores": os.cpu_count(),
        "items": options.items,
        "seed_items": options.seed_items,
        "rounds": options.rounds,
    }


def announcement(options: argparse.Namespace) -> str:
    lines = [
        f"{options.items:,} items of one row, medians of {options.rounds} round(s), "
        f"{os.cpu_count()} cores, Python {platform.python_version()}."
    ]
    if options.seed_items < options.items:
        lines.append(f"The slow naive loop predicts only {options.seed_items:,} of the items.")
    return "\n".join(lines)


def table(name: str, found: dict[str, Any]) -> str:
    ratios, rates = found["ratios"], found["items_per_second"]
    rows = [
        ("Batchline / naive loop", f"{ratios['product_to_seed']:.1f} x"),
        ("Batchline / plain script", f"{ratios['product_to_script']:.2f} x"),
        ("Batchline with start / naive loop", f"{ratios['product_with_start_to_seed']:.1f} x"),
        ("naive loop", f"{rates['seed']:,} items/s"),
        ("plain script", f"{rates['script']:,} items/s"),
        ("Batchline, from its `runs` table", f"{rates['product']:,} items/s"),
        ("Batchline, whole process", f"{rates['product_with_start']:,} items/s"),
    ]
    lines = [f"  {label:<36}{figure:>18}" for label, figure in rows]
    return "\n".join([f"{name} {found['version']}", *lines])


if __name__ == "__main__":
    main()
