"""The audit that the other fault tests trust finds what somebody has spoilt on purpose."""

from pathlib import Path

import pytest

from batchline.db.database import Database
from tests import models
from tests.database.test_jobs import run
from tests.faults.load import Audit, audit, store
from tests.jobs import make_job

ANOTHER_VERSION = """
    INSERT INTO predictions (item_id, model_id, prediction)
    SELECT item_id, model_id + 1, prediction FROM predictions WHERE item_id = 2
"""


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ("SELECT 1", Audit()),
        ("DELETE FROM items WHERE id = 2", Audit(lost=1, torn=1)),
        ("UPDATE items SET data = '[[9, 10]]' WHERE id = 2", Audit(lost=1, wrong=1)),
        ("INSERT INTO items (data) VALUES ('[[2, 3]]')", Audit(doubled=1, unfinished=1)),
        (ANOTHER_VERSION, Audit(doubled=1)),
        ("DELETE FROM predictions WHERE item_id = 2", Audit(torn=1)),
        ("UPDATE items SET status = 'pending' WHERE id = 2", Audit(torn=1, unfinished=1)),
        ("UPDATE items SET status = 'failed' WHERE id = 2", Audit(torn=1, unfinished=1)),
        ("UPDATE predictions SET prediction = '{}' WHERE item_id = 2", Audit(wrong=1)),
    ],
)
def test_the_audit_finds_what_is_lost_doubled_torn_or_wrong(
    spoil: str, found: Audit, database: Database, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    acknowledged = store(database, range(1, 6))
    run(job)
    with database.write() as connection:
        connection.exec_driver_sql(spoil)
    assert audit(database, acknowledged) == found
