"""`batchline verify` computes stored predictions again and finds each one that differs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from batchline.db import backfills
from batchline.db.backfills import NewBackfill
from batchline.db.database import Database
from batchline.registry.version import Version
from batchline.task.job import Job
from batchline.task.verification import Discrepancy, Verifier
from tests import models
from tests.database.test_interleavings import register, sql
from tests.database.test_jobs import run
from tests.jobs import ACTOR, active, add_model, make_job

IRIS_ROW = "[[5.1, 3.5, 1.4, 0.2]]"


@pytest.fixture
def job(database: Database, tmp_path: Path) -> Job:
    """Twenty items that have been predicted by a model that doubles."""
    job = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    register(database, *range(20))
    run(job)
    return job


def verify(
    job: Job, version: Version | None = None, sample: int | None = None
) -> list[Discrepancy]:
    verifier = Verifier(job.database, job.models, sample=sample)
    return list(verifier.verify(version or active(job)))


def test_right_predictions_are_not_reported(job: Job) -> None:
    assert verify(job) == []
    assert verify(job, sample=5) == []
    assert verify(job, sample=1_000) == []


def test_data_that_changed_without_a_new_prediction_is_found(job: Job) -> None:
    sql(job.database, "UPDATE items SET data = '[[50, 50]]' WHERE id = 7")
    [found] = verify(job)
    assert (found.item_id, found.version.number) == (7, 1)
    assert found.stored == '{"doubled":[12.0,12.0]}'
    assert found.computed == '{"doubled":[100.0,100.0]}'


def test_a_prediction_that_somebody_changed_is_found(job: Job) -> None:
    changed = '{"doubled":[12.0,12.5]}'
    sql(job.database, f"UPDATE predictions SET prediction = '{changed}' WHERE item_id = 7")
    sql(job.database, "UPDATE predictions SET prediction = 'oops' WHERE item_id = 9")
    assert [(found.item_id, found.stored) for found in verify(job)] == [(7, changed), (9, "oops")]


def test_a_label_that_somebody_changed_is_found(database: Database) -> None:
    job = make_job(database)
    sql(database, f"INSERT INTO items (data) VALUES ('{IRIS_ROW}'), ('{IRIS_ROW}')")
    run(job)
    assert verify(job) == []
    sql(database, "UPDATE predictions SET label = 'virginica' WHERE item_id = 2")
    [found] = verify(job)
    assert (found.item_id, found.stored, found.computed) == (2, "label virginica", "label setosa")
    sql(database, "UPDATE predictions SET label = NULL WHERE item_id = 2")
    assert verify(job) == []


def test_data_that_the_model_no_longer_accepts_is_found(job: Job) -> None:
    sql(job.database, "UPDATE items SET data = 'oops' WHERE id = 7")
    [found] = verify(job)
    assert found.computed.startswith("invalid_json: ")


def test_an_item_that_is_for_another_model_now_is_found(job: Job) -> None:
    sql(job.database, "UPDATE items SET model = 'other' WHERE id = 7")
    [found] = verify(job)
    assert found.computed == "the item is for the model other"


@pytest.mark.parametrize("status", ["pending", "canceled"])
def test_an_item_without_a_valid_result_is_not_looked_at(job: Job, status: str) -> None:
    sql(job.database, f"UPDATE items SET data = '[[9, 9]]', status = '{status}' WHERE id = 7")
    assert verify(job) == []


def test_each_version_is_verified_with_its_own_file(job: Job, tmp_path: Path) -> None:
    second = add_model(job.database, models.negated(tmp_path / "negated.onnx"), active=False)
    with job.database.write() as connection:
        backfills.start(connection, NewBackfill(second.name, second.id, "succeeded"), ACTOR)
    run(job)
    assert verify(job, second) == []
    sql(job.database, "UPDATE items SET data = '[[50, 50]]' WHERE id = 7")
    assert [found.item_id for found in verify(job, second)] == [7]


def test_a_version_without_predictions_has_nothing_to_report(job: Job, tmp_path: Path) -> None:
    second = add_model(job.database, models.negated(tmp_path / "negated.onnx"), active=False)
    assert verify(job, second) == []
    assert verify(job, second, sample=5) == []


def test_a_sample_is_taken_from_those_that_were_stored_since_then(job: Job) -> None:
    old = "UPDATE predictions SET created_at = '2020-01-01 00:00:00' WHERE item_id <= 15"
    sql(job.database, old)
    since = datetime(2021, 1, 1, tzinfo=UTC)
    verified: list[int] = []
    list(Verifier(job.database, job.models, 4, since).verify(active(job), verified.append))
    assert sum(verified) == 4


def test_a_sample_has_as_many_items_as_were_asked_for(job: Job) -> None:
    verified: list[int] = []
    verifier = Verifier(job.database, job.models, sample=19)
    assert list(verifier.verify(active(job), verified.append)) == []
    assert sum(verified) == 19


def test_items_at_the_ends_of_all_ids_are_verified(database: Database) -> None:
    job = make_job(database)
    ids = (1, 2**63 - 1)
    for item_id in ids:
        sql(database, f"INSERT INTO items (id, data) VALUES ({item_id}, '{IRIS_ROW}')")
    run(job)
    low = -(2**63) + 1
    sql(database, f"UPDATE items SET id = {low} WHERE id = 1")
    sql(database, f"UPDATE predictions SET item_id = {low} WHERE item_id = 1")
    assert verify(job, sample=5) == []
