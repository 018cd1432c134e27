"""What the batch job does with good items, bad items, other jobs and its own past."""

import json
import math
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, update

from batchline.api.items import label_of
from batchline.constants import (
    CLAIM_MAX_BYTES,
    IRIS_MODEL,
    MAX_ISOLATED_CRASHES,
    MAX_ROWS_PER_ITEM,
    RESULTS_MAX_BYTES,
    Status,
)
from batchline.db import claims
from batchline.db.claims import Suspects
from batchline.db.cruds import claim_lock, items, results
from batchline.db.cruds.items import StoredItem
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.db.models import claims as claims_table
from batchline.db.new_items import NewItems
from batchline.errors import ClaimLost, Failure, ValueRejected
from batchline.ml.examination.report import Choices
from batchline.registry import publish
from batchline.registry.loaded import ModelCache
from batchline.registry.version import Version
from batchline.task.job import Job, Outcome, Stopped
from batchline.task.pace import Pace
from batchline.task.run import Run
from tests import models
from tests.jobs import ACTOR, Watched, active, add_model, make_job

ROW = "[[5.1, 3.5, 1.4, 0.2]]"


def during_prediction(job: Job, statement: str) -> Job:
    """The job, but for the statement that somebody runs while it predicts."""

    def interrupt() -> None:
        with job.database.write() as connection:
            connection.exec_driver_sql(statement)

    return replace(job, models=Watched(job.database, before=interrupt))


def run(job: Job, threads: int = 2) -> Outcome:
    return Run(job, threads, lambda outcome: None).execute()


def fail(connection: Connection, ids: list[int]) -> None:
    results.finish(connection, ids, Status.FAILED)
    failed = VersionResults(1, {}, dict.fromkeys(ids, Failure("x", "x")))
    results.insert(connection, failed)


def predict_next(job: Job) -> Outcome:
    claim = job.hand.claim_pending(job.pace.items)
    assert claim is not None
    return job.predict(claim)


def register(database: Database, *data: str) -> list[int]:
    with database.write() as connection:
        return items.register(connection, NewItems(data))


def read(database: Database, item_id: int) -> StoredItem:
    with database.read() as connection:
        record = items.get(connection, item_id)
    assert record is not None
    return record


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_ids_come_back_in_the_order_of_the_data(database: Database) -> None:
    first = register(database, *[f"[[{n}, 0, 0, 0]]" for n in range(1_000)])
    assert first == sorted(first)
    with database.read() as connection:
        stored = dict(connection.exec_driver_sql("SELECT id, data FROM items").all())
    assert [stored[item_id] for item_id in first] == [f"[[{n}, 0, 0, 0]]" for n in range(1_000)]


BAD_ROWS = {
    "not JSON": ("[[1, 2, 3", "invalid_json", "not JSON"),
    "empty": ("", "invalid_json", "not JSON"),
    "a text": (
        '[[1, 2, "x", 4]]',
        "invalid_data",
        "data/0/2: expected a number, got the string 'x'",
    ),
    "true": ("[[1, 2, true, 4]]", "invalid_data", "data/0/2: expected a number, got true"),
    "too narrow": ("[[1, 2, 3]]", "invalid_data", "data/0: expected 4 values, got 3"),
    "no rows": ("[]", "invalid_data", "at least one row"),
    "NaN": ("[[1, 2, NaN, 4]]", "invalid_json", "not JSON"),
    "too large a number": ("[[1, 2, 1e39, 4]]", "invalid_data", "that fits into float32"),
    "too many rows": (
        f"[{','.join(['[1,2,3,4]'] * (MAX_ROWS_PER_ITEM + 1))}]",
        "invalid_data",
        "at most",
    ),
    "too large a text": (f"[[1, 2, 3, 4]]{' ' * 2**23}", "too_large", "larger than"),
}


def test_bad_rows_that_came_by_sql_fail_alone(database: Database) -> None:
    good, bad = [], []
    for data, code, detail in BAD_ROWS.values():
        good += register(database, ROW)
        bad.append((register(database, data)[0], code, detail))
    outcome = run(make_job(database))
    assert (outcome.succeeded, outcome.failed) == (len(good), len(bad))
    for item_id, code, detail in bad:
        record = read(database, item_id)
        assert (record.status, record.code) == ("failed", code)
        assert detail in record.detail
    for item_id in good:
        assert read(database, item_id).status == "succeeded"


def test_ids_that_a_client_chose_are_predicted_whatever_they_are(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"INSERT INTO items (id, data) VALUES (-5, '{ROW}')")
    assert run(make_job(database)).succeeded == 1
    assert read(database, -5).status == "succeeded"


def test_a_row_at_which_the_model_raises_fails_alone(database: Database, tmp_path: Path) -> None:
    ids = register(database, *[f"[[{n % 10}]]" for n in range(500)])
    bad = register(database, "[[77]]")[0]
    mixed = register(database, "[[3], [78], [4]]")[0]
    outcome = run(make_job(database, models.picky(tmp_path / "picky.onnx")))
    assert (outcome.succeeded, outcome.failed) == (500, 2)
    assert read(database, ids[7]).prediction == '{"square":[49.0]}'
    assert read(database, bad).code == "model_error"
    assert read(database, mixed).detail.startswith("row 1: ")


def test_a_prediction_of_nan_is_a_failure_with_a_reason(database: Database, tmp_path: Path) -> None:
    good, bad = register(database, "[[4]]", "[[-4]]")
    run(make_job(database, models.square_root(tmp_path / "root.onnx")))
    assert read(database, good).prediction == '{"root":[2.0]}'
    assert read(database, bad).code == "prediction_not_finite"


def test_a_model_that_gives_too_few_results_fails_its_items(
    database: Database, tmp_path: Path
) -> None:
    pair = register(database, "[[1, 2], [3, 4]]", "[[5, 6]]")[0]
    told = Choices(rows_axis="0")
    run(make_job(database, models.summing(tmp_path / "sum.onnx"), choices=told), threads=1)
    assert read(database, pair).status == "succeeded"  # alone, each row has its one result


def test_a_classifiers_label_is_a_column_beside_its_probabilities(database: Database) -> None:
    one, two = register(database, ROW, "[[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6, 2.5]]")
    run(make_job(database))
    assert items.text_of(read(database, one).label) == "setosa"
    assert items.text_of(read(database, two).label) == '["setosa","virginica"]'
    with database.read() as connection:
        labels = connection.exec_driver_sql("SELECT label FROM predictions ORDER BY item_id")
        assert list(labels.scalars()) == ["setosa", '["setosa","virginica"]']


def test_a_label_that_a_client_has_written_keeps_the_response_valid(database: Database) -> None:
    [item] = register(database, "[[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6, 2.5]]")
    run(make_job(database))
    assert label_of(read(database, item)) == ["setosa", "virginica"]
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE predictions SET label = '[oops'")
    assert label_of(read(database, item)) == "[oops"


def test_other_labels_for_the_same_file_are_another_version(
    database: Database, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.json"
    model = tmp_path / "iris.onnx"
    model.write_bytes(IRIS_MODEL.read_bytes())
    ids = []
    for names in ('["a", "b", "c"]', '["A", "b", "c"]', '["a", "b", "c"]'):
        labels.write_text(names)
        job = make_job(database, model, labels)
        ids.append(active(job).id)
        register(database, ROW)
        run(job)
    assert ids[0] == ids[2] != ids[1]
    assert [read(database, item_id).version for item_id in (1, 2, 3)] == [1, 2, 1]


def test_an_idle_run_writes_nothing(database: Database) -> None:
    assert run(make_job(database)) == Outcome()
    assert count(database, "runs") == 0


def test_a_run_that_finds_only_what_others_have_claimed_leaves_no_record(
    database: Database,
) -> None:
    register(database, ROW)
    assert claim(database, "other", 60) is not None
    assert run(make_job(database)) == Outcome()
    assert count(database, "runs") == 0


def test_many_jobs_share_a_backlog_without_doing_anything_twice(database: Database) -> None:
    register(database, *[ROW] * 1_000)
    jobs = [replace(make_job(database, owner=f"job-{n}"), pace=Pace(50, most=50)) for n in range(3)]
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda job=job: outcomes.append(run(job))) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.succeeded for outcome in outcomes) == 1_000
    assert count(database, "predictions") == 1_000
    assert count(database, "claims") == 0


def claim(
    database: Database, owner: str, lease: float, max_items: int = 10, *, sparse: bool = False
) -> claims.Claim | None:
    with database.write() as connection:
        return claims.claim_pending(
            connection,
            owner=owner,
            max_items=lambda lane: max_items,
            known={0: LaneProgress(sparse=sparse)},
            lease=lease,
        )


def test_claims_do_not_overlap(database: Database) -> None:
    ids = register(database, *[ROW] * 25)
    taken = [claim(database, "a", 60), claim(database, "b", 60), claim(database, "a", 60)]
    assert [(c.first_id, c.last_id) for c in taken if c] == [
        (ids[0], ids[9]),
        (ids[10], ids[19]),
        (ids[20], ids[24]),
    ]
    assert claim(database, "c", 60) is None


@pytest.mark.parametrize("owner", ["dead", None])
def test_after_the_clock_was_set_back_the_items_of_a_dead_job_do_not_wait_for_its_time(
    database: Database, owner: str | None
) -> None:
    [item_id] = register(database, ROW)
    assert claim(database, "dead", 60) is not None
    with database.write() as connection:
        later = claim_lock.database_time(connection) + timedelta(hours=1)
        connection.execute(update(claims_table).values(expires_at=later, owner=owner))
    job = make_job(database)
    assert job.hand.has_suspects()
    taken = job.hand.claim_suspect().claim
    assert taken is not None
    assert taken.ids == (item_id, item_id)


def test_a_claim_ends_before_the_range_of_another(database: Database) -> None:
    ids = register(database, *[ROW] * 30)
    first, second = claim(database, "a", 60), claim(database, "b", 60)
    assert first is not None
    assert second is not None
    with database.write() as connection:
        claims.release(connection, first.owner)
    wide = claim(database, "c", 60, max_items=100)
    assert wide is not None
    assert (wide.first_id, wide.last_id) == (ids[0], ids[9])


def test_a_claim_ends_at_the_newest_pending_item(database: Database) -> None:
    """What is registered while it lasts need not wait for its end."""
    register(database, ROW)
    assert claim(database, "a", 60) is not None
    (later,) = register(database, ROW)
    taken = claim(database, "b", 60)
    assert taken is not None
    assert taken.first_id == later


def test_a_claim_among_few_pending_items_covers_as_many_ids_as_it_takes(
    database: Database,
) -> None:
    ids = register(database, *[ROW] * 100)
    with database.write() as connection:
        fail(connection, [item_id for n, item_id in enumerate(ids) if n % 9])
    taken = claim(database, "a", 60, sparse=True)
    assert taken is not None
    assert (taken.first_id, taken.last_id) == (ids[0], ids[81])
    rest = claim(database, "a", 60, sparse=True)
    assert rest is not None
    assert (rest.first_id, rest.last_id) == (ids[90], ids[99])


def test_a_run_notices_that_few_items_are_pending(database: Database) -> None:
    ids = register(database, *[ROW] * 1_000)
    with database.write() as connection:
        fail(connection, [item_id for n, item_id in enumerate(ids) if n % 50])
    batches: list[Outcome] = []
    job = replace(make_job(database), pace=Pace(10, most=10))
    Run(job, 1, batches.append).execute()
    assert [batch.items for batch in batches if batch.items] == [1, 10, 9]


def test_a_batch_is_bounded_in_bytes_but_takes_one_item_at_least(database: Database) -> None:
    large = "x" * (CLAIM_MAX_BYTES + 1)
    register(database, large, *["y" * (CLAIM_MAX_BYTES // 3)] * 4)
    job = make_job(database)
    failed = [predict_next(job).failed for _ in range(3)]
    assert failed == [1, 3, 1]
    assert job.hand.claim_pending(job.pace.items) is None


def test_a_batch_whose_results_are_too_large_is_stored_in_parts(
    database: Database, tmp_path: Path
) -> None:
    eighth = RESULTS_MAX_BYTES // 8 // len("1.0,")
    register(database, *["[[1]]"] * 20)
    model = models.repeating(tmp_path / "m.onnx", eighth)
    job = replace(make_job(database, model), batch_seconds=math.inf)
    batches: list[Outcome] = []
    Run(job, 1, batches.append).execute()
    two_calls = 2 * job.models.predictor(active(job)).batching.call_rows
    sizes = [batch.items for batch in batches if batch.items]
    assert (sum(sizes), max(sizes) <= two_calls) == (20, True)  # calls of a slow machine are short
    assert count(database, "predictions") == 20


def test_a_batch_that_takes_long_is_stored_in_parts_of_an_item_at_least(
    database: Database, tmp_path: Path
) -> None:
    twelve_rows = json.dumps([[1, 2]] * 12)
    register(database, twelve_rows, *["[[1, 2]]"] * 100)
    late = replace(make_job(database, models.doubling(tmp_path / "m.onnx")), batch_seconds=-1.0)
    batches: list[Outcome] = []
    Run(late, 1, batches.append).execute()
    first, second, *_ = (each.items for each in batches if each.items)
    assert (first, second) == (29, 72)  # calls of 8 and 32 rows, and one of the rest
    assert sum(batches, Outcome()).succeeded == 101


def test_the_rest_of_a_suspect_claim_that_is_too_large_stays_suspect(database: Database) -> None:
    ids = [i for _ in range(10) for i in register(database, *["y" * (CLAIM_MAX_BYTES // 3)] * 4)]
    die_with(database)
    job = make_job(database)
    first = job.hand.claim_suspect().claim
    assert first is not None
    assert (first.first_id, first.last_id) == (ids[0], ids[3])
    assert job.predict(first).failed == 3
    suspects = []
    while taken := job.hand.claim_suspect().claim:
        suspects.append(taken.first_id)
        job.predict(taken)
    assert ids[3] in suspects
    assert count(database, "failures") == 40


def test_a_claim_that_ran_out_goes_to_the_next_who_asks(database: Database) -> None:
    register(database, ROW)
    assert claim(database, "dead", lease=-1) is not None
    assert run(make_job(database)).succeeded == 1


def test_a_claim_that_ran_out_while_it_is_being_stored_holds_up_nobody(
    database: Database, database_kind: str
) -> None:
    if database_kind == "sqlite":
        return  # it has one writer at a time
    first, *_ = register(database, *[ROW] * 3)
    stored = claim(database, "slow", lease=-1, max_items=1)
    assert stored is not None
    with database.write() as connection:
        claims.hold(connection, stored)
        taken = make_job(database).hand.claim_pending(lambda lane: 1_000)
        assert taken is not None
        assert taken.first_id == first + 1
        assert make_job(database).hand.claim_suspect().claim is None
        with database.write() as renewing:
            claims.renew(renewing, [stored.id, taken.id], 60)


def test_a_job_that_stalled_past_its_claim_stores_nothing(database: Database) -> None:
    register(database, ROW)
    job = during_prediction(make_job(database), "DELETE FROM claims")
    with pytest.raises(ClaimLost):
        predict_next(job)
    assert count(database, "predictions") == 0
    assert run(make_job(database)).succeeded == 1


def test_renewal_prolongs_a_claim_that_stands_and_revives_none(database: Database) -> None:
    register(database, ROW, ROW)
    held = claim(database, "me", lease=-1, max_items=1)
    assert held is not None
    with database.write() as connection:
        claims.renew(connection, [held.id, held.id + 1000], lease=60)
    other = claim(database, "other", 60)
    assert other is not None
    assert other.first_id > held.last_id
    assert count(database, "claims") == 2


def die_with(database: Database, *, alone: bool = False) -> claims.Claim:
    """A job takes what is next and dies: its claim has run out, and nobody gave it back."""
    with database.write() as connection:
        if alone:
            taken = claims.claim_suspect(connection, owner="dead", lease=-1).claim
        else:
            taken = claims.claim_pending(
                connection, owner="dead", max_items=lambda lane: 1_000, known={}, lease=-1
            )
    assert taken is not None
    return taken


def test_other_items_are_claimed_while_those_of_a_dead_job_wait(database: Database) -> None:
    register(database, ROW)
    dead = die_with(database)
    assert claim(database, "me", 60) is None
    [new] = register(database, ROW)
    taken = claim(database, "me", 60)
    assert taken is not None
    assert (dead.last_id < taken.first_id, taken.last_id) == (True, new)


def test_the_items_of_a_dead_job_are_divided_until_a_row_stands_alone(database: Database) -> None:
    ids = register(database, *[ROW] * 1_000)
    die_with(database)
    sizes = []
    for _ in range(3):
        part = die_with(database, alone=True)
        assert part.first_id == ids[0]
        sizes.append(part.last_id - part.first_id + 1)
    assert sizes == [100, 10, 1]


def test_a_row_at_which_a_job_died_alone_comes_after_the_other_suspects(
    database: Database,
) -> None:
    """Jobs that are killed soon after their start do not die with the same row each time."""
    first, *rest = register(database, *[ROW] * 5)
    die_with(database)
    assert [die_with(database, alone=True).first_id for _ in range(6)] == [first, *rest, first]


def test_a_row_at_which_jobs_die_alone_is_set_aside_and_nobody_else_is(database: Database) -> None:
    ids = register(database, *[ROW] * 30)
    killer = ids[17]
    job = make_job(database)
    die_with(database)
    deaths = crashed = 0
    while True:
        with database.write() as connection:
            suspects = claims.claim_suspect(connection, owner="somebody", lease=60)
        taken = suspects.claim
        crashed += len(suspects.crashed)
        if taken is None:
            break
        if taken.first_id <= killer <= taken.last_id:
            deaths += 1
            with database.write() as connection:
                claims.renew(connection, [taken.id], lease=-1)
        else:
            job.predict(taken)
    assert crashed == 1
    assert deaths == 1 + MAX_ISOLATED_CRASHES  # once with two neighbours, then alone
    assert read(database, killer).code == "worker_crashed"
    assert count(database, "predictions") == 29
    assert count(database, "claims") == 0


def test_an_item_set_back_by_hand_can_be_set_aside_although_its_old_failure_is_there(
    database: Database,
) -> None:
    (killer,) = register(database, "oops")
    job = make_job(database)
    run(job)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET status = 'pending'")
    die_with(database)
    for _ in range(MAX_ISOLATED_CRASHES):
        die_with(database, alone=True)
    assert job.hand.claim_suspect() == Suspects(None, (killer,))
    assert read(database, killer).code == "worker_crashed"


def test_a_claim_into_which_clients_put_items_is_divided_a_part_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = register(database, *[ROW] * 25)
    die_with(database)
    monkeypatch.setattr(claims, "CLAIM_MAX_ITEMS", 10)
    hand, found = make_job(database).hand, list[range]()
    while taken := hand.claim_suspect().claim:
        found.append(range(taken.first_id, taken.last_id + 1))
        finish(database, found[-1])
    assert sorted(each for part in found for each in part) == ids
    assert max(map(len, found)) <= 10


def finish(database: Database, ids: range) -> None:
    with database.write() as connection:
        results.finish(connection, list(ids), Status.SUCCEEDED)
        connection.execute(delete(claims_table).where(claims_table.c.first_id == ids.start))


def test_a_suspect_that_is_given_back_stays_a_suspect(database: Database) -> None:
    register(database, ROW)
    die_with(database)
    job = make_job(database)
    job.stop.set()
    taken = job.hand.claim_suspect().claim
    assert taken is not None
    with pytest.raises(Stopped):
        job.predict(taken)
    assert claim(database, "me", 60) is None
    assert job.hand.has_suspects()
    job.stop.clear()
    assert run(job).succeeded == 1
    assert count(database, "claims") == 0


def test_a_renewal_that_comes_after_the_giving_back_holds_nothing_up(database: Database) -> None:
    register(database, ROW)
    die_with(database)
    job = make_job(database)
    taken = job.hand.claim_suspect().claim
    assert taken is not None
    with database.write() as connection:
        claims.release(connection, taken.owner)
        claims.renew(connection, [taken.id], lease=60)
    assert job.hand.claim_suspect().claim is not None


def test_a_job_that_is_stopped_gives_its_batch_back(database: Database) -> None:
    register(database, ROW)
    job = make_job(database)
    job.stop.set()
    with pytest.raises(Stopped):
        predict_next(job)
    assert count(database, "claims") == 0
    assert count(database, "predictions") == 0


def test_an_item_that_appears_inside_a_claim_after_it_was_read_stays_pending(
    database: Database,
) -> None:
    first, late, last = register(database, ROW, ROW, ROW)
    with database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM items WHERE id = {late}")
    statement = f"INSERT INTO items (id, data) VALUES ({late}, '{ROW}')"
    predict_next(during_prediction(make_job(database), statement))
    assert [read(database, i).status for i in (first, late, last)] == [
        "succeeded",
        "pending",
        "succeeded",
    ]


def test_items_that_are_deleted_or_canceled_meanwhile_get_no_prediction(
    database: Database,
) -> None:
    first, deleted, last = register(database, ROW, ROW, ROW)
    predict_next(during_prediction(make_job(database), f"DELETE FROM items WHERE id = {deleted}"))
    canceled, other = register(database, ROW, ROW)
    statement = f"UPDATE items SET status = 'canceled' WHERE id = {canceled}"
    predict_next(during_prediction(make_job(database), statement))
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT item_id FROM predictions ORDER BY item_id")
        assert list(rows.scalars()) == [first, last, other]
    assert read(database, canceled).status == "canceled"


def test_items_that_a_client_sets_back_by_hand_are_predicted_again(database: Database) -> None:
    good, bad = register(database, ROW, "oops")
    run(make_job(database))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET status = 'pending'")
        connection.exec_driver_sql("UPDATE predictions SET prediction = 'old'")
    assert run(make_job(database)) == Outcome(succeeded=1, failed=1, rows=1)
    assert read(database, good).prediction.startswith('{"setosa"')
    assert read(database, bad).code == "invalid_json"
    assert count(database, "predictions") == 1


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_an_item_that_a_client_sets_back_and_forth_meanwhile_harms_no_other(
    database: Database, status: str
) -> None:
    (restless,) = register(database, ROW)
    run(make_job(database))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE items SET status = 'pending'")
    others = register(database, ROW, ROW)
    statement = f"UPDATE items SET status = '{status}' WHERE id = {restless}"
    assert predict_next(during_prediction(make_job(database), statement)).succeeded == 2
    assert [read(database, i).status for i in (restless, *others)] == [status, *["succeeded"] * 2]


def test_a_new_file_is_a_new_version_and_the_old_one_can_return(
    database: Database, tmp_path: Path
) -> None:
    register(database, "[[1, 2]]")
    run(make_job(database, models.doubling(tmp_path / "a.onnx")))
    assert (read(database, 1).version, read(database, 1).prediction) == (1, '{"doubled":[2.0,4.0]}')
    second = active(make_job(database, models.zeroed(tmp_path / "b.onnx")))
    again = active(make_job(database, models.doubling(tmp_path / "c.onnx")))
    assert (second.number, again.number) == (2, 1)
    assert count(database, "models") == 2
    register(database, "[[3, 4]]")
    run(make_job(database, models.doubling(tmp_path / "c.onnx")))
    assert (read(database, 2).version, read(database, 2).prediction) == (1, '{"doubled":[6.0,8.0]}')


def test_a_name_with_nul_in_an_items_data_fails_that_item_alone(database: Database) -> None:
    ids = register(database, ROW, '{"X": [[1, 2, 3, 4]], "\\u0000": 1}', ROW)
    run(make_job(database))
    assert [read(database, i).status for i in ids] == ["succeeded", "failed", "succeeded"]
    assert "\\u0000" in str(read(database, ids[1]).detail)


def test_a_failure_of_any_length_is_stored(database: Database) -> None:
    ids = register(database, ROW, json.dumps({"x" * 100_000: 1}), ROW)
    run(make_job(database))
    assert [read(database, i).status for i in ids] == ["succeeded", "failed", "succeeded"]


def reject_prediction(monkeypatch: pytest.MonkeyPatch, item_id: int) -> None:
    """Let the database reject the prediction of this item."""
    insert = results.insert

    def picky_insert(connection: Connection, found: VersionResults) -> None:
        if item_id in found.predictions:
            raise ValueRejected("the database rejected a value")
        insert(connection, found)

    monkeypatch.setattr(results, "insert", picky_insert)


def test_a_result_that_the_database_rejects_fails_its_item_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = register(database, *[ROW] * 20)
    reject_prediction(monkeypatch, ids[7])
    job = make_job(database)
    run(job)
    assert [i for i in ids if read(database, i).status != "succeeded"] == [ids[7]]
    assert read(database, ids[7]).code == "result_rejected"
    assert count(database, "claims") == 0


def test_items_are_predicted_by_the_successor_of_a_version_that_was_removed_meanwhile(
    database: Database, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "a.onnx"))
    [item] = register(database, "[[1, 2]]")
    first = active(job)
    stale = replace(job, models=Watched(database, before=lambda: None))
    claim = job.hand.claim_pending(job.pace.items)
    assert claim is not None
    known = {first.name: first}
    add_model(database, models.zeroed(tmp_path / "b.onnx"))
    publish.remove(database, first, ACTOR)
    asked: list[None] = []

    def active_once() -> dict[str, Version]:
        asked.append(None)
        return known if len(asked) == 1 else ModelCache.active(stale.models)

    stale.models.active = active_once  # type: ignore[method-assign]
    stale.predict(claim)
    assert (read(database, item).status, read(database, item).version) == ("succeeded", 2)


def test_items_with_odd_ids_and_odd_models_delay_no_other(
    database: Database, tmp_path: Path
) -> None:
    ids = [-(2**63), -1, 0, 1, 2**63 - 1]
    with database.write() as connection:
        if database.engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for item_id in ids:
            insert = f"INSERT INTO items (id, data) VALUES ({item_id}, '[[1, 2]]')"
            connection.exec_driver_sql(insert)
        model = {"sqlite": "'a' || char(0)", "mysql": "concat('a', char(0))"}
        name = model.get(database.engine.dialect.name, "''")
        connection.exec_driver_sql(f"INSERT INTO items (id, data, model) VALUES (7, '[]', {name})")
    job = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    for _ in range(3):
        run(job)
    assert [read(database, item_id).status for item_id in ids] == ["succeeded"] * len(ids)
    assert read(database, 7).code == "unknown_model"
