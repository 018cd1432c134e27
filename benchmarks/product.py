"""Batchline as its users run it: `batchline db upgrade`, SQL INSERTs, `batchline job --once`.

The job is a separate process, so its total time includes imports, loading the model and connecting.
The time of the run alone comes from the table `runs`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import create_engine, text

from batchline.configurations import Settings
from benchmarks.classifier import StoredItem


@dataclass(frozen=True, slots=True)
class Seconds:
    """The seconds of a `batchline job --once`: the whole process, and its run alone."""

    process: float
    run: float


def prepare(url: str, items: list[str], **settings: str) -> None:
    """Migrate the database and insert the items."""
    _batchline(url, "db", "upgrade", **settings)
    register(url, items)


def register(url: str, items: list[str]) -> None:
    """Insert the items as an SQL client would."""
    engine = create_engine(url)
    with engine.begin() as connection:
        statement = text("INSERT INTO items (data) VALUES (:data)")
        connection.execute(statement, [{"data": data} for data in items])
    engine.dispose()


def run(url: str, **settings: str) -> Seconds:
    """Predict all pending items, and return the seconds."""
    started = time.perf_counter()
    _batchline(url, "job", "--once", **settings)
    process = time.perf_counter() - started
    return Seconds(process, seconds_in_runs(url))


def stored_items(url: str) -> Iterator[StoredItem]:
    """Yield the data and the prediction of each succeeded item."""
    engine = create_engine(url)
    query = text(
        "SELECT data, prediction FROM items JOIN predictions ON predictions.item_id = items.id"
        " WHERE status = 'succeeded' ORDER BY items.id"
    )
    with engine.connect() as connection:
        for data, prediction in connection.execute(query):
            yield json.loads(data), json.loads(prediction)
    engine.dispose()


def seconds_in_runs(url: str) -> float:
    """Return the seconds of all runs, from their rates, which are more exact than their times."""
    engine = create_engine(url)
    runs = text("SELECT items_succeeded, rows_per_second FROM runs WHERE items_succeeded > 0")
    with engine.connect() as connection:
        seconds = sum(items / rate for items, rate in connection.execute(runs))
    engine.dispose()
    return float(seconds)


def count_predictions(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM predictions")).scalar_one()
    engine.dispose()
    return int(count)


def environment(url: str) -> dict[str, str]:
    """Return an environment with the database and less logging, and defaults for the rest."""
    ours = {name.upper() for name in Settings.model_fields}
    others = {name: value for name, value in os.environ.items() if name not in ours}
    return others | {"DATABASE_URL": url, "LOG_LEVEL": "WARNING"}


def _batchline(url: str, *command: str, **settings: str) -> None:
    """Run a command.

    Raises:
        RuntimeError: the command failed. The message has its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "batchline", *command],
        env=environment(url) | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"batchline {' '.join(command)}: {done.stdout[-2000:]}")
