"""Stored items predicted again by another version, through the same claims and promises."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db import backfills, claims
from batchline.db.backfills import NewBackfill
from batchline.db.cruds import claim_lock, items, results
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import ConfigurationError, UnknownVersion
from batchline.registry import publish
from batchline.registry.version import Version
from batchline.task.job import Job, Outcome
from batchline.task.run import Run
from tests import models
from tests.conftest import SQLITE_AND_A_SERVER
from tests.database.test_interleavings import sql
from tests.database.test_jobs import count, during_prediction, read, register, run
from tests.jobs import ACTOR, add_model, make_job

ROWS = [f"[[{n}, {n}]]" for n in range(20)]


@pytest.fixture
def job(database: Database, tmp_path: Path) -> Job:
    """For the model that doubles, with twenty items that it has predicted."""
    job = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    register(database, *ROWS)
    run(job)
    return job


@pytest.fixture
def second(job: Job, tmp_path: Path) -> Version:
    """Another version, which gives zeros, and is not active."""
    return add_model(job.database, models.zeroed(tmp_path / "zeroed.onnx"), active=False)


def begin(
    database: Database, version: Version, status: str = "succeeded", **times: datetime
) -> int:
    new = NewBackfill(version.name, version.id, status, **times)
    with database.write() as connection:
        found = backfills.start(connection, new, ACTOR)
    assert found is not None
    return found


def answers(database: Database, version: int) -> dict[int, str]:
    with database.read() as connection:
        found = (items.get_version_result(connection, item_id, version) for item_id in range(1, 50))
        return {record.id: record.prediction for record in found if record is not None}


def is_done(database: Database, backfill_id: int) -> bool:
    with database.write() as connection:
        return backfills.end_if_done(connection, backfill_id)


def test_stored_items_are_predicted_by_the_other_version_too(job: Job, second: Version) -> None:
    database = job.database
    backfill = begin(database, second)
    assert run(job) == Outcome(succeeded=20, rows=20)
    assert is_done(database, backfill)
    assert set(answers(database, 2).values()) == {'{"y":[0.0,0.0]}'}
    assert answers(database, 1)[2] == '{"doubled":[2.0,2.0]}'
    assert read(database, 2).version == 1  # which is still the active one
    assert run(job) == Outcome()
    begin(database, second)  # once more: nothing is left to do
    assert run(job) == Outcome()
    assert count(database, "predictions") == 40


def test_what_is_pending_comes_first(job: Job, second: Version) -> None:
    database = job.database
    begin(database, second)
    register(database, "[[7, 7]]")
    batches: list[Outcome] = []
    Run(job, 1, batches.append).execute()
    assert [batch.items for batch in batches] == [1, 20]
    assert (len(answers(database, 1)), len(answers(database, 2))) == (21, 20)


def test_only_items_of_the_model_the_status_and_the_time_are_taken(
    job: Job, second: Version
) -> None:
    database = job.database
    (failed,) = register(database, "oops")
    run(job)
    with database.write() as connection:
        items.register(connection, NewItems(["[[1, 2]]"], ["other"]))
        connection.exec_driver_sql("UPDATE items SET status = 'succeeded' WHERE model = 'other'")
        connection.exec_driver_sql("UPDATE items SET data = '[[1, 1]]' WHERE status = 'failed'")
        now = claim_lock.database_time(connection)
    later = now + timedelta(hours=1)
    begin(database, second, since=later)
    begin(database, second, until=now - timedelta(hours=1))
    assert run(job) == Outcome()
    begin(database, second, status="failed")
    assert run(job) == Outcome(succeeded=1, rows=1)
    assert (read(database, failed).status, read(database, failed).version) == ("succeeded", 2)
    begin(database, second, until=later)
    assert run(job) == Outcome(succeeded=20, rows=20)


def test_an_item_that_the_version_cannot_predict_keeps_what_it_has(
    job: Job, tmp_path: Path
) -> None:
    database = job.database
    narrow = add_model(database, models.square_root(tmp_path / "root.onnx"), active=False)
    begin(database, narrow)
    assert run(job) == Outcome(failed=20)
    assert count(database, "failures") == 20
    assert read(database, 1).status == "succeeded"
    assert read(database, 1).prediction == '{"doubled":[0.0,0.0]}'
    with database.read() as connection:
        answer = items.get_version_result(connection, 1, 2)
    assert answer is not None
    assert (answer.prediction, answer.code) == (None, "invalid_data")
    with database.write() as connection:  # there is nothing failed to be put back
        assert results.retry_failed(connection, item_ids=[], code=None, limit=100) == []


def test_the_range_of_a_job_that_died_is_divided_and_finished(job: Job, second: Version) -> None:
    database = job.database
    backfill = begin(database, second)
    with database.write() as connection:
        dead = claims.claim_backfill(connection, owner="dead", max_items=1_000, lease=-1)
    assert dead is not None
    assert not is_done(database, backfill)
    assert job.hand.claim_backfill(job.pace.items(None)) is None
    assert run(job) == Outcome(succeeded=20, rows=20)
    assert is_done(database, backfill)
    assert len(answers(database, 2)) == 20


def test_an_item_at_which_jobs_die_alone_is_a_failure_of_that_version(
    job: Job, second: Version
) -> None:
    database = job.database
    begin(database, second)
    with database.write() as connection:
        claims.claim_backfill(connection, owner="dead", max_items=1, lease=-1)
        crashed = 0
        for _ in range(5):
            suspects = claims.claim_suspect(connection, owner="dead", lease=-1)
            crashed += len(suspects.crashed)
    assert (suspects.claim, crashed) == (None, 1)
    assert read(database, 1).status == "succeeded"
    with database.read() as connection:
        answer = items.get_version_result(connection, 1, 2)
    assert answer is not None
    assert answer.code == "worker_crashed"
    assert run(job) == Outcome(succeeded=19, rows=19)


def test_a_range_that_was_given_back_is_not_forgotten(job: Job, second: Version) -> None:
    database = job.database
    backfill = begin(database, second)
    claim = job.hand.claim_backfill(job.pace.items(None))
    assert claim is not None
    job.hand.release(claim)
    assert not is_done(database, backfill)
    assert run(job).succeeded == 20
    assert is_done(database, backfill)


def test_two_backfills_of_one_version_store_each_answer_once(job: Job, second: Version) -> None:
    database = job.database
    for _ in range(2):
        begin(database, second)
    first, other = (
        job.hand.claim_backfill(job.pace.items(None)),
        job.hand.claim_backfill(job.pace.items(None)),
    )
    assert first is not None
    assert other is not None
    assert first.scope != other.scope
    assert job.predict(first).succeeded == 20
    assert job.predict(other).succeeded == 0
    assert count(database, "predictions") == 40


@pytest.mark.parametrize("statement", ["DELETE FROM items WHERE id = 3", "DELETE FROM claims"])
def test_what_clients_do_meanwhile_is_respected(statement: str, job: Job, second: Version) -> None:
    database = job.database
    begin(database, second)
    run(during_prediction(job, statement))
    deleted = {3} if "items" in statement else set(range(1, 21))
    assert set(answers(database, 2)) == set(range(1, 21)) - deleted
    with database.read() as connection:
        orphans = "SELECT count(*) FROM predictions WHERE item_id NOT IN (SELECT id FROM items)"
        # The first version's answer was there before the item went.
        assert connection.exec_driver_sql(orphans).scalar_one() == ("items" in statement)


def test_a_backfill_of_nothing_begins_not_at_all(database: Database) -> None:
    version = add_model(database)
    with database.write() as connection:
        new = NewBackfill(version.name, version.id, "succeeded")
        assert backfills.start(connection, new, ACTOR) is None
    assert version.name == DEFAULT_MODEL


def test_a_backfill_passes_over_ids_without_items(job: Job, second: Version) -> None:
    database = job.database
    far = 2**60
    sql(database, f"INSERT INTO items (id, data) VALUES ({far}, '[[1, 2]]')")
    run(job)
    backfill = begin(database, second)
    assert run(job).items == 21
    assert is_done(database, backfill)


def test_a_backfill_skips_nothing_after_an_item_with_the_id_0(job: Job, second: Version) -> None:
    database = job.database
    sql(database, "UPDATE items SET id = 0 WHERE id = 1")
    sql(database, "UPDATE predictions SET item_id = 0 WHERE item_id = 1")
    with database.write() as connection:
        backfills.start(connection, NewBackfill(second.name, second.id, "succeeded"), ACTOR)
        found = backfills.next_range(connection, 5)
    assert found is not None
    assert found[1] == (0, 4)


def test_a_backfill_takes_only_items_of_exactly_its_model(job: Job, second: Version) -> None:
    database = job.database
    sql(database, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'default ')")
    run(job)
    backfill = begin(database, second, status="failed")
    assert run(job) == Outcome()
    assert is_done(database, backfill)


def test_a_backfill_by_a_removed_version_does_not_begin(job: Job, second: Version) -> None:
    publish.remove(job.database, second, ACTOR)
    with pytest.raises(UnknownVersion, match="was removed"):
        begin(job.database, second)


def test_a_version_with_which_a_backfill_predicts_is_not_removed(job: Job, second: Version) -> None:
    begin(job.database, second)
    with pytest.raises(ConfigurationError, match="a backfill predicts with"):
        publish.remove(job.database, second, ACTOR)


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_a_backfill_ends_after_the_largest_id(job: Job, second: Version) -> None:
    sql(job.database, f"UPDATE items SET id = {2**63 - 1} WHERE id = 20")
    sql(job.database, f"UPDATE predictions SET item_id = {2**63 - 1} WHERE item_id = 20")
    backfill = begin(job.database, second)
    assert run(job) == Outcome(succeeded=20, rows=20)
    assert run(job) == Outcome()
    assert is_done(job.database, backfill)
