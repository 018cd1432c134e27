"""Compare two kinds of claims: one table row for a range of ids, and a mark on each item.

Both claim 5,000 pending items at a time. The time to store the predictions of one claim is measured
for comparison. Most job tables use marks: `UPDATE … SET claimed_by` on the first free rows, which
an index on the mark finds. PostgreSQL, MySQL and MariaDB skip rows that other transactions locked.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from sqlalchemy import Connection

from batchline.constants import BEFORE_ALL_IDS, CLAIM_LEASE, CLAIM_MAX_ITEMS
from batchline.db import claims, work
from batchline.db.claims import Claim
from batchline.db.cruds import items, pending
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from batchline.db.work import Predicted
from benchmarks import results as figures_file
from benchmarks.iris import make_items
from benchmarks.job import DATABASES, databases, known_databases

ITEMS = 100_000
MODEL_ID = 1
PREDICTION = '{"setosa":0.97,"versicolor":0.02,"virginica":0.01}'
OWNER = "benchmark"

T = TypeVar("T")


def main() -> None:
    options = read_options()
    figures = {}
    for name in options.databases:
        with databases(name) as (new_database, version):
            ranges, storing = measure_ranges(open_database(new_database()))
            marks = measure_marks(open_database(new_database()))
        figures[name] = {
            "version": version,
            "range_ms": round(ranges, 1),
            "marks_ms": round(marks, 1),
            "store_ms": round(storing, 1),
            "range_to_store": round(ranges / storing, 3),
            "marks_to_store": round(marks / storing, 2),
        }
        print(
            f"{name} {version}: claim a range {ranges:.1f} ms ({ranges / storing:.1%} of storing), "
            f"mark each item {marks:.1f} ms ({marks / storing:.0%}), store {storing:.1f} ms",
            flush=True,
        )
    conditions = {"items": ITEMS, "items_of_a_claim": CLAIM_MAX_ITEMS}
    figures_file.save("claims", {"conditions": conditions, "databases": figures}, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--databases", type=known_databases, default=",".join(DATABASES))
    figures_file.add_option(parser)
    return parser.parse_args()


def open_database(url: str) -> Database:
    database = Database(url)
    upgrade(database)
    data = make_items(1_000)
    for _ in range(ITEMS // len(data)):
        database.transaction(lambda connection: items.register(connection, NewItems(data)))
    return database


def measure_ranges(database: Database) -> tuple[float, float]:
    """Return the median milliseconds to claim a range and to store its predictions."""
    claiming: list[float] = []
    storing: list[float] = []
    after = BEFORE_ALL_IDS
    for _ in range(ITEMS // CLAIM_MAX_ITEMS):
        claim = timed(database, claiming, lambda connection, after=after: take(connection, after))
        assert claim is not None
        timed(database, storing, lambda connection, claim=claim: store(connection, claim))
        after = claim.last_id
    database.close()
    return median(claiming), median(storing)


def take(connection: Connection, after: int) -> Claim | None:
    return claims.claim_pending(
        connection,
        owner=OWNER,
        max_items=lambda lane: CLAIM_MAX_ITEMS,
        known={0: LaneProgress(after)},
        lease=CLAIM_LEASE,
    )


def store(connection: Connection, claim: Claim) -> None:
    ids = claim.first_id, claim.last_id
    [read] = pending.read_unpredicted(connection, ids, claim.scope)
    found = VersionResults(MODEL_ID, dict.fromkeys(read.texts, PREDICTION), {})
    work.store_in(connection, claim, [Predicted(read, found)])


def measure_marks(database: Database) -> float:
    """Return the median milliseconds to mark the items of one claim."""
    add_mark(database)
    marking: list[float] = []
    for _ in range(ITEMS // CLAIM_MAX_ITEMS):
        marked = timed(database, marking, mark)
        assert marked == CLAIM_MAX_ITEMS
    database.close()
    return median(marking)


def add_mark(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE items ADD COLUMN claimed_by VARCHAR(64)")
        connection.exec_driver_sql("CREATE INDEX items_claim ON items (status, claimed_by, id)")


def mark(connection: Connection) -> int:
    """Mark the next free items and return their number.

    The derived table is for MySQL, which cannot update a table that it selects from directly.
    """
    skip = "" if connection.dialect.name == "sqlite" else "FOR UPDATE SKIP LOCKED"
    free = (
        "SELECT id FROM items WHERE status = 'pending' AND claimed_by IS NULL "
        f"ORDER BY id LIMIT {CLAIM_MAX_ITEMS} {skip}"
    )
    return connection.exec_driver_sql(
        f"UPDATE items SET claimed_by = '{OWNER}' WHERE id IN (SELECT id FROM ({free}) AS free)"
    ).rowcount


def timed(database: Database, times: list[float], work: Callable[[Connection], T]) -> T:
    started = time.perf_counter()
    result = database.transaction(work)
    times.append((time.perf_counter() - started) * 1000)
    return result


if __name__ == "__main__":
    main()
