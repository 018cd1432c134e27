"""Suspect items that take their time, and come after the others."""

import threading
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db import claims, work
from batchline.db.cruds import items
from batchline.db.cruds.pending import ModelItems
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import BatchlineError, ClaimLost, Failure
from batchline.ml.runtime import Runtime
from batchline.ml.time_limit import TimeLimit
from batchline.registry.loaded import ModelCache
from batchline.task.hand import Hand
from batchline.task.job import Job, Outcome
from batchline.task.run import Run
from tests import models
from tests.database.test_backfills import answers, begin, is_done
from tests.database.test_interleavings import sql
from tests.database.test_jobs import register, reject_prediction
from tests.jobs import EVERYTHING, add_model

GOOD, ENDLESS = "[[3]]", f"[[{10**12}]]"

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def never(threads: Set[int], error: BatchlineError) -> None:
    raise AssertionError(f"the threads {threads} are stuck")


def register_suspects(database: Database, *rows: str) -> None:
    """Items whose job has died."""
    database.transaction(lambda connection: items.register(connection, NewItems([*rows])))
    with database.write() as connection:
        claims.claim_pending(
            connection, owner="dead", max_items=lambda lane: 1_000, known={}, lease=-1
        )


def test_suspects_do_not_wait_for_one_that_takes_all_its_time(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.slow(tmp_path / "slow.onnx"))
    register_suspects(database, GOOD, ENDLESS, GOOD, GOOD)
    cache = ModelCache(database, Runtime(limit=TimeLimit(1, never)), EVERYTHING)
    hurry = TimeLimit(0.5, never)
    job = Job(database, cache, Hand(database, "me"), threading.Event(), hurry=hurry)
    stored: list[Outcome] = []
    Run(job, 1, stored.append).execute_suspects()
    assert [each for each in stored if each.items] == [
        *[Outcome(succeeded=1, rows=1)] * 3,
        Outcome(failed=1, rows=1),
    ]
    with database.read() as connection:
        failure = connection.exec_driver_sql("SELECT item_id, code, detail FROM failures").one()
        left = connection.exec_driver_sql("SELECT count(*) FROM claims").scalar_one()
    reason = "the model took longer than 1 s (MODEL_TIMEOUT)"
    assert (tuple(failure), left) == ((2, "timed_out", reason), 0)


def test_a_call_that_does_not_end_puts_off_its_item_and_no_other(database: Database) -> None:
    register_suspects(database, *[GOOD] * 50)
    hand = Hand(database, "me")
    claim = hand.claim_suspect().claim
    assert claim is not None
    assert (claim.first_id, claim.last_id, claim.is_patient) == (1, 5, False)
    with hand.holding(claim), hand.isolating(ModelItems(DEFAULT_MODEL, {3: GOOD})):
        assert hand.give_up({threading.get_ident()}, None) == []
    with pytest.raises(ClaimLost), database.write() as connection:
        claims.hold(connection, claim)  # as a job that stores results
    found = []
    while taken := hand.claim_suspect().claim:
        found.append((taken.first_id, taken.last_id, taken.is_patient))
    assert found[:3] == [(1, 2, False), (4, 5, False), (6, 10, False)]
    assert found[-1] == (3, 3, True)


@pytest.mark.parametrize("change", ["data = '[[4]]'", "model = 'other'"])
def test_an_item_that_a_client_corrects_while_a_call_does_not_end_is_predicted_again(
    database: Database, change: str
) -> None:
    register_suspects(database, ENDLESS)
    hand = Hand(database, "me")
    claim = hand.claim_suspect().claim
    assert claim is not None
    [tried] = work.read(database, claim).items
    with hand.holding(claim), hand.isolating(tried):
        with database.write() as connection:
            connection.exec_driver_sql(f"UPDATE items SET {change}")
        assert hand.give_up({threading.get_ident()}, Failure("timed_out", "too long")) == []
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT status FROM items").scalar_one() == "pending"
        assert connection.exec_driver_sql("SELECT count(*) FROM failures").scalar_one() == 0
    again = hand.claim_suspect().claim
    assert again is not None
    assert (again.first_id, again.last_id) == (1, 1)


def test_an_item_that_was_put_off_may_take_all_its_time(database: Database, tmp_path: Path) -> None:
    add_model(database, models.slow(tmp_path / "slow.onnx"))
    register_suspects(database, f"[[{3 * 10**5}]]")
    cache = ModelCache(database, Runtime(limit=TimeLimit(60, never)), EVERYTHING)
    hand = Hand(database, "me")
    job = replace(Job(database, cache, hand, threading.Event()), hurry=TimeLimit(0.01, never))
    assert Run(job, 1, lambda outcome: None).execute_suspects().succeeded == 1


def test_a_backfill_keeps_what_was_put_off_before_an_item_whose_result_is_rejected(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = add_model(database, models.slow(tmp_path / "slow.onnx"))
    slow, rejected, *others = register(database, f"[[{3 * 10**5}]]", *[GOOD] * 19)
    sql(database, "UPDATE items SET status = 'succeeded'")
    backfill = begin(database, version)
    with database.write() as connection:
        claims.claim_backfill(connection, owner="dead", max_items=20, lease=-1)
    reject_prediction(monkeypatch, rejected)
    cache = ModelCache(database, Runtime(limit=TimeLimit(60, never)), EVERYTHING)
    hand = Hand(database, "me")
    job = replace(Job(database, cache, hand, threading.Event()), hurry=TimeLimit(0.01, never))
    assert Run(job, 1, lambda outcome: None).execute_suspects().items == 20
    assert set(answers(database, version.id)) == {slow, rejected, *others}
    assert is_done(database, backfill)


def test_a_claim_of_a_backfill_that_was_deleted_holds_up_nobody(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.slow(tmp_path / "slow.onnx"))
    register_suspects(database, GOOD)
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO claims (first_id, last_id, expires_at, suspect, deaths, backfill_id) "
            "VALUES (1, 1, '2020-01-01', 1, 0, 77)"
        )
    cache = ModelCache(database, Runtime(), EVERYTHING)
    job = Job(database, cache, Hand(database, "me"), threading.Event())
    assert Run(job, 1, lambda outcome: None).execute_suspects().succeeded == 1
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM claims").scalar_one() == 0
