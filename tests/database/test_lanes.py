"""Lower lanes are predicted first, and no lane waits for the end of another."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from batchline.constants import CLAIMS_IN_A_ROW, UPLOAD_LANE
from batchline.db import claims, work
from batchline.db.claims import Claim
from batchline.db.cruds import pending
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.db.scope import Scope
from batchline.db.work import Predicted
from batchline.errors import ClaimLost
from batchline.task.hand import Hand
from batchline.task.job import Job, Outcome
from batchline.task.lanes import Lanes
from batchline.task.pace import Pace
from batchline.task.run import Run
from tests import models
from tests.database.test_interleavings import answer, doubled, sql
from tests.database.test_jobs import count, during_prediction, run
from tests.jobs import Watched, make_job

BATCH = 10
UPLOAD = UPLOAD_LANE


@pytest.fixture
def job(database: Database, tmp_path: Path) -> Job:
    """Its default model doubles the numbers of a row, and its batches have 10 items."""
    made = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    return replace(made, pace=Pace(BATCH, most=BATCH))


def register(database: Database, *lanes: int) -> list[int]:
    """Register an item in each of these lanes, in this order. Its number is its place in it."""
    newest = newest_id(database)
    rows = ", ".join(f"('[[{number}, {number}]]', {lane})" for number, lane in enumerate(lanes))
    sql(database, f"INSERT INTO items (data, lane) VALUES {rows}")
    with database.read() as connection:
        query = f"SELECT id FROM items WHERE id > {newest} ORDER BY id"
        return list(connection.exec_driver_sql(query).scalars())


def newest_id(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT max(id) FROM items").scalar() or 0)


def pending_by_lane(database: Database) -> dict[int, int]:
    with database.read() as connection:
        query = "SELECT lane, count(*) FROM items WHERE status = 'pending' GROUP BY lane"
        return dict(connection.exec_driver_sql(query).all())  # type: ignore[arg-type]


def lanes_of_batches(job: Job, *, threads: int = 1) -> list[int]:
    """Predict everything, and return the lane of each batch."""
    found: list[int] = []
    before = pending_by_lane(job.database)

    def note(outcome: Outcome) -> None:
        nonlocal before
        now = pending_by_lane(job.database)
        found.extend(lane for lane in before if now.get(lane) != before[lane])
        before = now

    Run(job, threads, note).execute()
    return found


def claim(hand: Hand, size: int = BATCH) -> Claim:
    taken = hand.claim_pending(lambda lane: size)
    assert taken is not None
    return taken


def read_ids(job: Job, taken: Claim) -> list[int]:
    return [i for each in work.read(job.database, taken).items for i in each.texts]


# The order -------------------------------------------------------------------------------------


def test_lower_lanes_are_predicted_first_whatever_their_ids_are(
    database: Database, job: Job
) -> None:
    register(database, 32_767, 1, 0, -5, -32_768, 1)
    assert lanes_of_batches(job) == [-32_768, -5, 0, 1, 32_767]


def test_a_lane_that_is_no_number_delays_nobody(
    database: Database, job: Job, database_kind: str
) -> None:
    if database_kind != "sqlite":
        return  # a server refuses it
    lanes = "'x'", "''", "x'ff'", "CAST(x'ff' AS TEXT)", "1.5", "99999999999", "9e999", "-9e999"
    for lane in lanes:
        sql(database, f"INSERT INTO items (data, lane) VALUES ('[[1, 2]]', {lane})")
    register(database, 0, UPLOAD)
    Run(job, 1, lambda outcome: None).execute()
    assert pending_by_lane(database) == {}
    assert count(database, "predictions") == len(lanes) + 2


def test_what_is_registered_during_an_upload_is_in_the_next_batch(
    database: Database, job: Job
) -> None:
    register(database, *[UPLOAD] * 6 * BATCH)
    came: list[int] = []

    def come() -> None:
        if not came:
            came.extend(register(database, 0))

    watched = replace(job, models=Watched(database, before=come))
    waiting: list[int] = []
    Run(watched, 1, lambda outcome: waiting.append(pending_by_lane(database).get(0, 0))).execute()
    assert waiting == [1, *[0] * 6]
    assert answer(database, came[0]) == doubled(0)
    assert count(database, "predictions") == 6 * BATCH + 1


def test_an_item_below_those_of_the_run_so_far_does_not_wait_for_the_upload(
    database: Database, job: Job
) -> None:
    """Its transaction took an id early, and was committed late."""
    low, high = register(database, 0, 0)
    sql(database, f"DELETE FROM items WHERE id = {low}")
    register(database, *[UPLOAD] * 6 * BATCH)
    late = [f"INSERT INTO items (id, data) VALUES ({low}, '[[1, 1]]')"]

    def come() -> None:
        if answer(database, high) == doubled(1) and late:
            sql(database, late.pop())

    watched = replace(job, models=Watched(database, before=come))
    assert lanes_of_batches(watched)[:3] == [0, UPLOAD, 0]
    assert answer(database, low) == doubled(1)
    assert not late


def test_an_item_below_the_others_of_its_lane_is_predicted_in_the_same_run(
    database: Database, job: Job
) -> None:
    low, *_ = register(database, *[UPLOAD] * 3 * BATCH)
    sql(database, f"DELETE FROM items WHERE id = {low}")
    late = [f"INSERT INTO items (id, data, lane) VALUES ({low}, '[[1, 1]]', {UPLOAD})"]
    watched = replace(
        job, models=Watched(database, before=lambda: late and sql(database, late.pop()))
    )
    run(watched, threads=1)
    assert answer(database, low) == doubled(1)


def test_an_upload_gets_a_share_while_single_requests_keep_coming(
    database: Database, job: Job
) -> None:
    register(database, *[UPLOAD] * 4 * BATCH, *[0] * 9 * BATCH)
    turn = [*[0] * CLAIMS_IN_A_ROW, UPLOAD]
    assert lanes_of_batches(job) == [*turn * 3, UPLOAD]


def test_every_lane_leaves_a_share_to_those_above_it(database: Database, job: Job) -> None:
    register(database, *[2] * BATCH, *[1] * 5 * BATCH, *[0] * 15 * BATCH)
    turn = [*[0] * CLAIMS_IN_A_ROW, 1]
    assert lanes_of_batches(job)[:16] == [*turn * 3, *[0] * CLAIMS_IN_A_ROW, 2]


def test_an_upload_alone_gets_everything(database: Database, job: Job) -> None:
    register(database, *[UPLOAD] * 5 * BATCH)
    assert lanes_of_batches(job) == [UPLOAD] * 5


def test_single_requests_alone_get_everything(database: Database, job: Job) -> None:
    register(database, *[0] * 9 * BATCH)
    assert lanes_of_batches(job) == [0] * 9


def test_many_lanes_are_all_predicted_once_by_several_jobs(database: Database, job: Job) -> None:
    ids = register(database, *[number % 25 for number in range(200)])
    jobs = [replace(job, hand=Hand(database, f"job-{n}")) for n in range(2)]
    threads = [threading.Thread(target=run, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer(database, i) for i in ids] == [doubled(n) for n in range(200)]
    assert count(database, "predictions") == 200
    assert count(database, "claims") == 0


# Claims ----------------------------------------------------------------------------------------


def test_claims_of_two_lanes_share_ids_and_no_item(database: Database, job: Job) -> None:
    ids = register(database, *[UPLOAD, 0] * 5)
    singles, upload = claim(job.hand), claim(job.hand)
    assert (singles.scope, upload.scope) == (Scope(lane=0), Scope(lane=UPLOAD))
    assert singles.first_id < upload.last_id
    assert (read_ids(job, singles), read_ids(job, upload)) == (ids[1::2], ids[::2])
    assert job.hand.claim_pending(job.pace.items) is None
    assert (job.predict(upload).items, job.predict(singles).items) == (5, 5)
    assert count(database, "predictions") == 10


def test_a_claim_that_is_too_large_leaves_the_rest_to_its_lane(
    database: Database, job: Job
) -> None:
    ids = register(database, *[UPLOAD, 0] * 3)
    sql(database, f"UPDATE items SET data = '{' ' * 2**21}[[1, 1]]' WHERE lane = {UPLOAD}")
    sql(database, "UPDATE items SET status = 'canceled' WHERE lane = 0")
    upload = claim(job.hand)
    sql(database, "UPDATE items SET status = 'pending' WHERE lane = 0")
    assert job.predict(upload).items == 1
    assert read_ids(job, claim(job.hand)) == ids[1::2]
    assert [read_ids(job, claim(job.hand)) for _ in range(2)] == [ids[2:3], ids[4:5]]


@pytest.mark.parametrize("dies_in", [0, UPLOAD])
def test_the_items_of_a_dead_job_stay_in_their_lane(
    database: Database, job: Job, dies_in: int
) -> None:
    ids = register(database, *[UPLOAD, 0] * 5)
    both = claim(job.hand), claim(job.hand)
    dead, other = sorted(both, key=lambda each: each.scope.lane != dies_in)
    expire(database, dead)
    assert job.hand.claim_pending(job.pace.items) is None
    others = replace(job, hand=Hand(database, "other"))
    suspects = []
    while taken := others.hand.claim_suspect().claim:
        assert taken.scope == dead.scope
        suspects += read_ids(others, taken)
        others.predict(taken)
    assert suspects == (ids[1::2] if dies_in == 0 else ids[::2])
    assert job.predict(other).items == 5
    with pytest.raises(ClaimLost):
        job.predict(dead)
    assert count(database, "predictions") == 10
    assert count(database, "claims") == 0


def test_suspects_that_are_released_stay_in_their_lane(database: Database, job: Job) -> None:
    register(database, UPLOAD)
    expire(database, claim(job.hand))
    taken = job.hand.claim_suspect().claim
    assert taken is not None
    job.hand.release(taken)
    again = job.hand.claim_suspect().claim
    assert again is not None
    assert again.scope == Scope(lane=UPLOAD)


def expire(database: Database, taken: Claim) -> None:
    with database.write() as connection:
        claims.renew(connection, [taken.id], lease=-1)


# Clients that change a lane --------------------------------------------------------------------


def test_an_item_whose_lane_changes_while_it_is_predicted_is_predicted_once(
    database: Database, job: Job
) -> None:
    ids = register(database, *[UPLOAD] * 3)
    move = f"UPDATE items SET lane = 0 WHERE id = {ids[1]}"
    assert run(during_prediction(job, move)).items == 3
    assert [answer(database, i) for i in ids] == [doubled(0), doubled(1), doubled(2)]
    assert count(database, "predictions") == 3


def test_an_item_that_another_job_claims_in_its_new_lane_is_stored_by_the_first(
    database: Database, job: Job
) -> None:
    ids = register(database, *[UPLOAD] * 3)
    other = replace(job, hand=Hand(database, "other"))
    taken: list[Claim] = []

    def move_and_claim() -> None:
        if not taken:
            sql(database, f"UPDATE items SET lane = 0 WHERE id = {ids[1]}")
            taken.append(claim(other.hand))
            assert other.predict(taken[0]).items == 1

    outcome = run(replace(job, models=Watched(database, before=move_and_claim)), threads=1)
    assert outcome.items == 2
    assert [answer(database, i) for i in ids] == [doubled(0), doubled(1), doubled(2)]
    assert count(database, "predictions") == 3


def test_an_item_that_enters_a_claimed_lane_is_predicted_later(
    database: Database, job: Job
) -> None:
    ids = register(database, UPLOAD, 7, UPLOAD)
    move = f"UPDATE items SET lane = {UPLOAD} WHERE id = {ids[1]} AND status = 'pending'"
    assert run(during_prediction(job, move)).items == 3
    assert [answer(database, i) for i in ids] == [doubled(0), doubled(1), doubled(2)]


def test_a_suspect_that_changes_its_lane_is_free_there(database: Database, job: Job) -> None:
    [item_id] = register(database, UPLOAD)
    expire(database, claim(job.hand))
    sql(database, f"UPDATE items SET lane = 0 WHERE id = {item_id}")
    assert run(job).items == 1
    assert count(database, "claims") == 0


def test_a_result_counts_as_not_stored_although_its_item_left_the_lane(
    database: Database, job: Job
) -> None:
    """The COMMIT was not confirmed, and a client came before the job looked."""
    [item_id] = register(database, UPLOAD)
    taken = claim(job.hand)
    [read] = work.read(database, taken).items
    predicted = [Predicted(read, VersionResults(1, {item_id: "{}"}, {}))]
    sql(database, "UPDATE items SET lane = 0")
    assert not work.is_stored(database, taken, predicted)
    work.store(database, taken, predicted, until=None)
    assert work.is_stored(database, taken, predicted)


# Jobs of the schema 0003 -----------------------------------------------------------------------


def claim_without_lane(database: Database, ids: Sequence[int], expires_at: str) -> None:
    """What a job of the previous version writes: it knows of no lanes."""
    sql(
        database,
        "INSERT INTO claims (owner, first_id, last_id, expires_at, suspect, deaths)"
        f" VALUES ('old', {ids[0]}, {ids[-1]}, '{expires_at}', false, 0)",
    )


def test_a_claim_without_a_lane_covers_all_lanes(database: Database, job: Job) -> None:
    ids = register(database, *[UPLOAD, 0] * 4)
    claim_without_lane(database, ids[2:6], "2037-01-01 00:00:00")
    found = [read_ids(job, claim(job.hand, size=100)) for _ in range(4)]
    assert found == [[ids[1]], [ids[7]], [ids[0]], [ids[6]]]
    assert job.hand.claim_pending(job.pace.items) is None


def test_suspects_of_a_claim_without_a_lane_are_those_of_all_lanes(
    database: Database, job: Job
) -> None:
    ids = register(database, *[UPLOAD, 0] * 4)
    claim_without_lane(database, ids[2:6], "2001-01-01 00:00:00")
    first = job.hand.claim_suspect().claim
    assert first is not None
    assert first.scope == Scope()
    job.hand.release(first)
    assert run(job).items == 8
    assert count(database, "predictions") == 8
    assert count(database, "claims") == 0


# Where a claim begins --------------------------------------------------------------------------


def test_a_lane_without_free_items_is_forgotten() -> None:
    lanes = Lanes()
    for lane in (0, 0, 1):
        lanes.claimed(Claim(1, "me", 1, 9, scope=Scope(lane=lane)))
    assert lanes.progress() == {1: LaneProgress(after=9, in_a_row=1)}


def test_the_lanes_with_pending_items_are_found_one_by_one(database: Database) -> None:
    register(database, 3, -2, 3, 0)
    with database.read() as connection:
        assert pending.next_lane(connection, None, None) == -2
        assert pending.next_lane(connection, -2, None) == 0
        assert pending.next_lane(connection, 0, 3) is None
        assert pending.next_lane(connection, 3, None) is None
