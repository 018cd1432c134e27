"""Batchline as its users run it: `batchline db upgrade`, plain INSERTs, `batchline job --once`.

It is a process of its own, so whatever it costs to start is seen, too: imports, the model, the
connection. How long it worked is what it wrote into `runs`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text

from batchline.configurations import Settings
from benchmarks.iris import Answer


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one `batchline job --once` took: the whole process, and its run alone."""

    process: float
    run: float


def prepare(url: str, items: list[str]) -> None:
    """Migrate, and register the items as any SQL client would."""
    _batchline(url, "db", "upgrade")
    engine = create_engine(url)
    with engine.begin() as connection:
        statement = text("INSERT INTO items (data) VALUES (:data)")
        connection.execute(statement, [{"data": data} for data in items])
    engine.dispose()


def run(url: str) -> Seconds:
    """Predict everything that is pending."""
    started = time.perf_counter()
    _batchline(url, "job", "--once")
    process = time.perf_counter() - started
    engine = create_engine(url)
    with engine.connect() as connection:
        in_runs = _seconds_in_runs(connection)
    engine.dispose()
    return Seconds(process, in_runs)


def answers(url: str) -> Iterator[Answer]:
    """Each item's data beside its prediction, for items that are marked as done."""
    engine = create_engine(url)
    query = text(
        "SELECT data, prediction FROM items JOIN predictions ON predictions.item_id = items.id"
        " WHERE status = 'succeeded' ORDER BY items.id"
    )
    with engine.connect() as connection:
        for data, prediction in connection.execute(query):
            yield json.loads(data), json.loads(prediction)
    engine.dispose()


def _seconds_in_runs(connection: Connection) -> float:
    """From the rate, since `ended_at - started_at` leaves out less than a millisecond of it."""
    runs = text("SELECT items_succeeded, rows_per_second FROM runs WHERE items_succeeded > 0")
    return float(sum(items / rate for items, rate in connection.execute(runs)))


def _batchline(url: str, *command: str) -> None:
    """Run a command with nothing set but the database, so that its defaults are measured.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    ours = {name.upper() for name in Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-m", "batchline", *command],
        env=environment | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"batchline {' '.join(command)}: {done.stdout[-2000:]}")
