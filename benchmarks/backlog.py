"""Measure the cost of pending items after a long history, and the memory for a large backlog.

Both use the command `batchline job --once` on each database. Each round predicts 20,000 items in a
new database, which has predicted 10,000 items as a warm-up, and 20,000 items in a database with
millions of earlier predictions. The memory is the job's peak with a million pending items.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from sqlalchemy import Connection, create_engine, text

from benchmarks import product, results
from benchmarks.iris import make_items
from benchmarks.job import DATABASES, databases, known_databases, positive

PREDICTION = '{"setosa":0.97,"versicolor":0.02,"virginica":0.01}'
FIRST = 10_000
"""Items that are inserted one by one. The rest of a history are copies of them."""


def main() -> None:
    options = read_options()
    figures = {}
    for name in options.databases:
        with databases(name) as (new_database, version):
            ratio, seconds = flat_cost(new_database, options)
            megabytes = peak_memory(new_database(), options.pending)
        figures[name] = {
            "version": version,
            "beside_history_to_new": round(ratio, 2),
            "seconds_new": round(seconds, 3),
            "peak_megabytes": megabytes,
        }
        print(
            f"{name} {version}: {options.items:,} items after {options.history:,} predicted items "
            f"take {ratio:.2f} x the time, and {options.pending:,} pending items take {megabytes} "
            "MB of memory",
            flush=True,
        )
    names = ("items", "history", "pending", "rounds")
    conditions = {name: getattr(options, name) for name in names}
    results.save("backlog", {"conditions": conditions, "databases": figures}, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--items", type=positive, default=20_000, metavar="N")
    parser.add_argument("--history", type=positive, default=5_000_000, metavar="N")
    parser.add_argument("--pending", type=positive, default=1_000_000, metavar="N")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N")
    parser.add_argument("--databases", type=known_databases, default=",".join(DATABASES))
    results.add_option(parser)
    return parser.parse_args()


def flat_cost(new_database: Callable[[], str], options: argparse.Namespace) -> tuple[float, float]:
    """Return the median ratio of the times with and without a history, and the seconds without."""
    items = make_items(options.items)
    old = warm(new_database())
    in_database(old, lambda connection: copy_history(connection, options.history))
    ratios, few = [], []
    for _ in range(options.rounds):
        few.append(seconds_for(items, warm(new_database())))
        ratios.append(seconds_for(items, old) / few[-1])
    return median(ratios), median(few)


def warm(url: str) -> str:
    """Migrate a database, predict the first items in it, and return its URL."""
    product.prepare(url, make_items(FIRST))
    product.run(url)
    return url


def seconds_for(items: list[str], url: str) -> float:
    product.register(url, items)
    before = product.seconds_in_runs(url)
    product.run(url)
    return product.seconds_in_runs(url) - before


def peak_memory(url: str, pending: int) -> int:
    """Return the peak resident memory, in MB, of a `job --once` that predicts `pending` items."""
    product.prepare(url, make_items(FIRST))
    in_database(url, lambda connection: multiply(connection, pending, "pending"))
    watched = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=2); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", watched, sys.executable, "-m", "batchline", "job", "--once"]
    done = subprocess.run(command, env=product.environment(url), check=True, stdout=subprocess.PIPE)
    return int(done.stdout) // 1024


def in_database(url: str, work: Callable[[Connection], None]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        work(connection)
    engine.dispose()


def copy_history(connection: Connection, count: int) -> None:
    """Insert predicted items with their predictions."""
    multiply(connection, count, "succeeded")
    connection.execute(
        text(
            "INSERT INTO predictions (item_id, model_id, prediction) "
            "SELECT items.id, 1, :prediction FROM items "
            "LEFT JOIN predictions ON item_id = items.id WHERE item_id IS NULL"
        ),
        {"prediction": PREDICTION},
    )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE")  # autovacuum would have done it


def multiply(connection: Connection, count: int, status: str) -> None:
    """Double the number of items until there are `count`."""
    existing = FIRST
    while existing < count:
        more = min(existing, count - existing)
        connection.execute(
            text(
                "INSERT INTO items (data, status) "
                "SELECT data, :status FROM items ORDER BY id LIMIT :more"
            ),
            {"status": status, "more": more},
        )
        existing += more


if __name__ == "__main__":
    main()
