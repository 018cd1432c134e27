"""Rows that kill the process, and jobs that are killed."""

import os
import random
import signal
import time
from pathlib import Path

from batchline.constants import MAX_DEATHS_ALONE
from batchline.db import cruds
from batchline.db.database import Database
from tests import models
from tests.service import Command, run, wait_for

ROW = "[[5.1, 3.5, 1.4, 0.2]]"


def register(database: Database, rows: list[str]) -> list[int]:
    with database.write() as connection:
        return cruds.register_items(connection, rows)


def values(database: Database, query: str) -> list[object]:
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query).all()]


def let_claims_run_out(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE claims SET expires_at = '2020-01-01 00:00:00'")


def test_a_row_that_kills_the_process_is_set_aside_and_its_neighbours_succeed(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    model = str(models.deadly(tmp_path / "deadly.onnx"))
    ids = register(database, [f"[[{n}]]" for n in range(1, 41)])
    killer = ids[25]
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE items SET data = '[[-1]]' WHERE id = {killer}")
    deaths = 0
    while True:
        job = run("job", "--once", DATABASE_URL=database_url, MODEL_FILEPATH=model)
        if job.returncode == 0:
            break
        assert job.returncode == -signal.SIGFPE, job.stderr
        deaths += 1
        assert deaths < 20
        let_claims_run_out(database)
    assert values(database, "SELECT item_id, code FROM failures") == [(killer, "worker_crashed")]
    assert values(database, "SELECT count(*) FROM predictions") == [(39,)]
    assert deaths == 2 + MAX_DEATHS_ALONE  # among 40, among 4, then alone


def test_jobs_that_are_killed_at_random_lose_and_double_nothing(
    database: Database, database_url: str
) -> None:
    """The short form: two jobs on one backlog, one of them killed again and again."""
    dice = random.Random(20261123)
    total = 40_000
    for _ in range(total // 1_000):
        register(database, [ROW] * 1_000)

    def done() -> bool:
        return values(database, "SELECT count(*) FROM items WHERE status = 'pending'") == [(0,)]

    settings = {"DATABASE_URL": database_url, "BATCH_WAIT_TIME": "0.1"}
    kills = 0
    with Command("job", **settings):
        while kills < 4 and not done():
            with Command("job", **settings) as victim:
                before = values(database, "SELECT count(*) FROM predictions")
                wait_for(
                    lambda before=before: (
                        values(database, "SELECT count(*) FROM predictions") != before or done()
                    ),
                    "progress",
                )
                time.sleep(dice.uniform(0, 0.05))  # the very moment is what chance shall choose
                os.kill(victim.process.pid, signal.SIGKILL)
                kills += 1
            let_claims_run_out(database)
        wait_for(done, "the end of the backlog")
    assert kills > 0
    assert values(database, "SELECT count(*), count(DISTINCT item_id) FROM predictions") == [
        (total, total)
    ]
    assert values(database, "SELECT count(*) FROM failures") == [(0,)]
