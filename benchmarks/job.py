"""Compare the batch job with the loop it replaces and with a script written by hand.

On each database and in each round, on fresh databases: the seed loop, the plain script, and the
real command `batchline job --once`. Every run is checked: all predictions are there, and a sample
equals the model's own answers, or there is no figure. Ratios are the medians of the rounds' own
ratios, because what ran within the same minute met the same machine.
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
from benchmarks import plain_script, product, results, seed_loop
from benchmarks.iris import check, make_items

DATABASES = ("sqlite", *devservers.NAMES)

EPILOG = """\
A quick look at one database: --items 5000 --rounds 1 --databases sqlite
Servers are private ones that start and end with the benchmark; `python -m devservers fetch` gets
them. Close what else uses the machine, and distrust a single round.
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


# What to do ------------------------------------------------------------------------------------


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
        help="items, of one row each, for script and product (default: %(default)s); the "
        "more there are, the less the start of the process counts",
    )
    parser.add_argument(
        "--seed-items",
        type=positive,
        default=5_000,
        metavar="N",
        help="items for the seed loop, which is slow, and of which only the rate is used; with "
        "2000 its start-up may show, with 5000 and 10000 it was within 4 %% of each other "
        "(default: %(default)s, at most --items)",
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def known_databases(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in DATABASES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(DATABASES)}")
    return names


@contextmanager
def databases(name: str) -> Iterator[tuple[NewDatabase, str]]:
    """What makes a fresh database of this kind each time it is called, and the server's version.

    A server that cannot be had here ends the benchmark: a table with a gap would be read as whole.
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
    """One round. Who begins changes with the turn: the first may find a colder server."""
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
    """What the contender's `run` took; raises where it did not do the work."""
    contender.prepare(url, items)
    took = contender.run(url)
    check(contender.answers(url), expected=len(items))
    return took


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Medians, and the single rounds, so that a reader sees how far they lie apart."""
    return {
        "ratios": _medians([each.ratios() for each in rounds], digits=2),
        "items_per_second": _medians([asdict(each) for each in rounds], digits=None),
        "rounds": [{name: round(rate) for name, rate in asdict(each).items()} for each in rounds],
    }


def _medians(rows: list[dict[str, float]], digits: int | None) -> dict[str, float]:
    return {name: round(median(row[name] for row in rows), digits) for name in rows[0]}


# Telling ---------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """All that somebody needs in order to repeat it, and nothing that names the machine."""
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
        lines.append(
            f"The seed loop is slow and had {options.seed_items:,} of the items: "
            "its rate is what counts."
        )
    return "\n".join(lines)


def table(name: str, found: dict[str, Any]) -> str:
    ratios, rates = found["ratios"], found["items_per_second"]
    rows = [
        ("product / seed loop", f"{ratios['product_to_seed']:.1f} x"),
        ("product / plain script", f"{ratios['product_to_script']:.2f} x"),
        ("product with its start / seed loop", f"{ratios['product_with_start_to_seed']:.1f} x"),
        ("seed loop", f"{rates['seed']:,} items/s"),
        ("plain script", f"{rates['script']:,} items/s"),
        ("product, from its `runs` table", f"{rates['product']:,} items/s"),
        ("product, whole process", f"{rates['product_with_start']:,} items/s"),
    ]
    lines = [f"  {label:<36}{figure:>18}" for label, figure in rows]
    return "\n".join([f"{name} {found['version']}", *lines])


if __name__ == "__main__":
    main()
