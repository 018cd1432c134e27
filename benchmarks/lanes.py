"""Measure how long a single request waits while a job predicts a large upload with a slow model.

The upload's rows are pending when the job starts. Then a client registers single items, one at a
time, and waits for the prediction of each. The model is that of `benchmarks.slow_model`.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, Engine, create_engine, text

from batchline.constants import UPLOAD_LANE
from benchmarks import product, results
from benchmarks.job import databases, known_databases, positive
from benchmarks.slow_model import make_model, rows_of

FIRST = 1_000
"""Rows that are inserted one by one. The rest of the upload are copies of them."""
WAIT_TIME = 5
"""`BATCH_WAIT_TIME` of the job, in seconds."""
LONGEST_PAUSE = 3.0
"""Seconds between two single items, at most. Chance chooses the moment in a batch."""
POLL = 0.02


def main() -> None:
    options = read_options()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        model = make_model(Path(folder) / "slow.onnx")
        for name in options.databases:
            with databases(name) as (new_database, version):
                figures[name] = {"version": version, **measure(new_database(), model, options)}
            print(name, json.dumps(figures[name]), flush=True)
    conditions = {"rows": options.rows, "singles": options.singles, "batch_wait_time": WAIT_TIME}
    results.save("lanes", {"conditions": conditions, "databases": figures}, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lanes", description=__doc__)
    parser.add_argument("--rows", type=positive, default=100_000, metavar="N")
    parser.add_argument("--singles", type=positive, default=20, metavar="N")
    parser.add_argument("--databases", type=known_databases, default="sqlite,postgresql")
    results.add_option(parser)
    return parser.parse_args()


def measure(url: str, model: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return the seconds that single items waited, and the upload's rows per second meanwhile.

    Raises:
        RuntimeError: the upload ended before the last single item, so these waited for nothing.
    """
    dice = random.Random(1)
    first_rows = [json.dumps([row]) for row in rows_of(min(FIRST, options.rows))]
    product.prepare(url, first_rows, MODEL_FILEPATH=str(model))
    engine = create_engine(url)
    with engine.begin() as connection:
        make_upload(connection, options.rows)
    waits = []
    with job(url, model):
        first = seconds_until_predicted(engine)
        started, before = time.perf_counter(), count(engine, "status = 'pending'")
        for _ in range(options.singles):
            time.sleep(dice.uniform(0, LONGEST_PAUSE))
            waits.append(seconds_until_predicted(engine))
        seconds, left = time.perf_counter() - started, count(engine, "status = 'pending'")
    engine.dispose()
    if not left:
        raise RuntimeError(f"the upload of {options.rows} rows ended: use more --rows")
    return {
        "seconds_median": round(median(waits), 2),
        "seconds_longest": round(max(waits), 2),
        "seconds_with_start_of_the_job": round(first, 2),
        "upload_rows_per_second": round((before - left) / seconds),
    }


def make_upload(connection: Connection, rows: int) -> None:
    """Make the first rows those of an upload, and add copies of them."""
    connection.execute(text(f"UPDATE items SET lane = {UPLOAD_LANE}"))
    copy = text(
        "INSERT INTO items (data, lane)"
        f" SELECT data, lane FROM items WHERE id <= {FIRST} LIMIT :rows"
    )
    for done in range(FIRST, rows, FIRST):
        connection.execute(copy, {"rows": min(FIRST, rows - done)})


@contextmanager
def job(url: str, model: Path) -> Iterator[None]:
    """Run `batchline job` during the block."""
    settings = {"MODEL_FILEPATH": str(model), "BATCH_WAIT_TIME": str(WAIT_TIME)}
    process = subprocess.Popen(
        [sys.executable, "-m", "batchline", "job"],
        env=os.environ | product.environment(url) | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def seconds_until_predicted(engine: Engine) -> float:
    """Register a single item, and return how long it waits for its prediction."""
    [row] = rows_of(1)
    started = time.perf_counter()
    with engine.begin() as connection:
        insert = text("INSERT INTO items (data) VALUES (:data)")
        connection.execute(insert, {"data": json.dumps([row])})
    while count(engine, "status = 'pending' AND lane = 0"):
        time.sleep(POLL)
    return time.perf_counter() - started


def count(engine: Engine, condition: str) -> int:
    with engine.connect() as connection:
        query = text(f"SELECT count(*) FROM items WHERE {condition}")
        return int(connection.execute(query).scalar_one())


if __name__ == "__main__":
    main()
