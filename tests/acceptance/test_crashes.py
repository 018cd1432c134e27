"""Rows that kill the process."""

import signal
from pathlib import Path

from batchline.constants import MAX_DEATHS_ALONE
from batchline.db import cruds
from batchline.db.database import Database
from tests import models
from tests.service import run


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
