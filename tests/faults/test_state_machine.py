"""Whatever jobs and clients do, in whatever order: nothing is lost, done twice or blamed wrongly.

Hypothesis draws sequences of registrations, claims, stores, crashes, stalls, outages, retries and
clients' own SQL, runs them against a real database with the job's real code, and compares the
tables after every step with a model in memory. Time passes by writing a claim's end into the past.

A batch runs in a thread of its own that stands still at its first transaction, the one that
stores, until the machine lets it go on: so any number of batches are under way at once, and what
happens is still the same in each repetition.
"""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, update
from structlog.testing import capture_logs

from batchline.constants import MAX_ISOLATED_CRASHES, Status
from batchline.db import models
from batchline.db.claims import WORKER_CRASHED, Claim
from batchline.db.cruds import claim_lock, items, results
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.db.models import Record
from batchline.db.new_items import NewItems
from batchline.errors import ClaimLost, DatabaseUnavailable
from batchline.ml.runtime import Runtime
from batchline.registry.loaded import ModelCache
from batchline.task.hand import Hand
from batchline.task.job import Job, Outcome, Stopped
from batchline.task.pace import Pace
from batchline.task.run import Run
from tests.faults.conftest import Figures
from tests.jobs import EVERYTHING, Watched, active, make_job
from tests.models import picky

T = TypeVar("T")

PATIENCE = 30.0
JOBS = range(3)
CLAIM_ITEMS = 3
BATCHES_AT_ONCE = 8
FOR_EVER = 10**9

PREDICTIONS = {
    "[[3]]": '{"square":[9.0]}',
    "[[4],[5]]": '[{"square":[16.0]},{"square":[25.0]}]',
}
FAILURES = {"[[77]]": "model_error", "oops": "invalid_json"}
"""What an item may hold, and what has to come of it."""
DATA = st.sampled_from([*PREDICTIONS, *FAILURES])
LANES = st.sampled_from([0, 1])
Suspect = tuple[int | None, int]
"""The lane of a claim, and its only item."""


@dataclass
class Item:
    """What the database should know about an item."""

    data: str
    lane: int = 0
    status: str = Status.PENDING
    predicted_by: int | None = None
    code: str | None = None
    set_back: bool = False
    """A client set its status back by hand, and left what it had been answered before."""

    def becomes_pending(self) -> None:
        self.status, self.predicted_by, self.code = Status.PENDING, None, None

    def becomes_failed(self, code: str) -> None:
        self.status, self.code = Status.FAILED, code

    def is_answered(self, model_id: int) -> None:
        if self.data in PREDICTIONS:
            self.status, self.predicted_by = Status.SUCCEEDED, model_id
        else:
            self.becomes_failed(FAILURES[self.data])


class Door:
    """The database as one batch sees it: its first transaction waits until it is let through."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read = database.read
        self.arrived, self.opened = threading.Event(), threading.Event()
        self.failing = 0
        """So many transactions fail, as if the network was gone."""

    def transaction(self, work: Callable[[Connection], T]) -> T:
        self.arrived.set()
        assert self.opened.wait(PATIENCE)
        if self.failing:
            self.failing -= 1
            raise DatabaseUnavailable("the network is gone")
        return self._database.transaction(work)

    def open(self, failing: int) -> None:
        self.failing = failing
        self.opened.set()


@dataclass(eq=False, repr=False)
class Batch:
    """A claim in the hand of a job, and how far the job has come with it."""

    claim: Claim
    job: Job
    door: Door
    seen: list[int] = field(default_factory=list)
    stopped: bool = False
    work: "Future[Outcome] | None" = None

    def __repr__(self) -> str:
        return f"<batch of {self.claim}>"


def one_of(name: str) -> st.SearchStrategy[Any]:
    """One of what the machine has at the moment, which a precondition says is not nothing."""
    return st.runner().flatmap(lambda machine: st.sampled_from(getattr(machine, name)))


def some(name: str) -> Callable[[T], T]:
    """A rule that can only run while the machine has some of these."""
    return precondition(lambda machine: bool(getattr(machine, name)))


def overlap(one: Record, other: Record) -> bool:
    shared = one.first_id <= other.last_id and other.first_id <= one.last_id
    return bool(shared and one.lane == other.lane)


def version_of(job: Job) -> int:
    versions = cast(Watched, job.models)
    assert versions.only is not None
    return versions.only.id


class World:
    """What outlives a sequence: database, predictor, threads, and what has been counted."""

    def __init__(self, database: Database, model: Path, pool: ThreadPoolExecutor) -> None:
        self.database = database
        self.pool = pool
        self._first = active(make_job(database, model))
        self._predictor = ModelCache(database, Runtime(), EVERYTHING).predictor(self._first)
        self.model_ids = [self._first.id, self._first.id + 1]
        self.counted: Counter[str] = Counter()

    def job(self, model_id: int) -> Job:
        """A job process that has just started."""
        self.counted["jobs"] += 1
        owner = f"job-{self.counted['jobs']}"
        version = replace(self._first, id=model_id)
        versions = Watched(self.database, only=version, predictor=self._predictor)
        pace = Pace(CLAIM_ITEMS, CLAIM_ITEMS)
        return Job(self.database, versions, Hand(self.database, owner), threading.Event(), pace)

    def empty(self) -> None:
        for table in ("items", "predictions", "failures", "claims", "runs"):
            self.sql(f"DELETE FROM {table}")

    def sql(self, statement: str) -> None:
        """What any SQL client may do."""
        with self.database.write() as connection:
            connection.exec_driver_sql(statement)

    def rows(self, *tables: Any) -> list[Sequence[Record]]:
        with self.database.read() as connection:
            return [connection.execute(table.select()).all() for table in tables]


class Jobs(RuleBasedStateMachine):
    """Three jobs, of two model versions, and clients with SQL rights, on one database."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.counted = world, world.counted
        world.empty()
        one, two = world.model_ids
        self.jobs = [world.job(one), world.job(one), world.job(two)]
        self.items: dict[int, Item] = {}
        self.deleted: dict[int, str] = {}
        self.batches: list[Batch] = []
        self.given: dict[int, Claim] = {}  # handed out, and neither over nor lost
        self.expired: set[int] = set()
        self.deaths: Counter[Suspect] = Counter()  # of jobs that had only this item in hand
        self.counted["examples"] += 1

    # What the rules choose from ------------------------------------------------------------------

    @property
    def unstarted(self) -> list[Batch]:
        return [batch for batch in self.batches if batch.work is None]

    @property
    def idle_jobs(self) -> list[int]:
        return [n for n, job in enumerate(self.jobs) if not self.batches_of(job)]

    @property
    def claims_in_time(self) -> list[int]:
        return sorted(self.given.keys() - self.expired)

    @property
    def known(self) -> list[int]:
        return sorted(self.items)

    @property
    def pending(self) -> list[int]:
        return [i for i in self.known if self.items[i].status == Status.PENDING]

    @property
    def busy_jobs(self) -> list[int]:
        return sorted(set(JOBS).difference(self.idle_jobs))

    def batches_of(self, job: Job) -> list[Batch]:
        return [batch for batch in self.batches if batch.job is job]

    # Clients -------------------------------------------------------------------------------------

    @initialize(data=st.lists(DATA, min_size=4, max_size=12))
    def begin(self, data: list[str]) -> None:
        self.register(data, 0)

    @rule(data=st.lists(DATA, min_size=1, max_size=4), lane=LANES)
    def register(self, data: list[str], lane: int) -> None:
        new = NewItems(data, lane=lane)
        ids = self.world.database.transaction(lambda c: items.register(c, new))
        self.items |= {i: Item(text, lane) for i, text in zip(ids, data, strict=True)}

    @some("known")
    @rule(item_id=one_of("known"), lane=LANES)
    def a_client_moves_an_item(self, item_id: int, lane: int) -> None:
        self.world.sql(f"UPDATE items SET lane = {lane} WHERE id = {item_id}")
        self.items[item_id].lane = lane

    @rule(data=DATA)
    def a_client_picks_an_id_by_hand(self, data: str) -> None:
        """In the gap of a deleted item, with what that was, or below all others."""
        item_id = min(self.deleted, default=min([0, *self.items]) - 1)
        data = self.deleted.pop(item_id, data)
        self.world.sql(f"INSERT INTO items (id, data) VALUES ({item_id}, '{data}')")
        self.items[item_id] = Item(data)

    @some("known")
    @rule(item_id=one_of("known"), delete=st.sampled_from([False, False, True]))
    def a_client_changes_an_item(self, item_id: int, delete: bool) -> None:
        """It deletes it, or cancels what is pending and sets back to pending what is not."""
        if delete:
            self.delete(item_id)
            return
        item = self.items[item_id]
        if item.status == Status.PENDING:
            item.status = Status.CANCELED
        else:
            item.becomes_pending()
            item.set_back = True
        self.world.sql(f"UPDATE items SET status = '{item.status}' WHERE id = {item_id}")

    def delete(self, item_id: int) -> None:
        for table, column in (("items", "id"), ("predictions", "item_id"), ("failures", "item_id")):
            self.world.sql(f"DELETE FROM {table} WHERE {column} = {item_id}")
        self.deleted[item_id] = self.items.pop(item_id).data

    @rule(code=st.sampled_from([None, *FAILURES.values()]))
    def retry(self, code: str | None) -> None:
        self.world.database.transaction(
            lambda c: results.retry_failed(c, item_ids=[], code=code, limit=FOR_EVER)
        )
        for item in self.items.values():
            if item.status == Status.FAILED and code in (None, item.code):
                item.becomes_pending()

    # Jobs that claim -----------------------------------------------------------------------------

    @precondition(lambda self: len(self.batches) < BATCHES_AT_ONCE)
    @rule(job=st.sampled_from(JOBS), then=st.sampled_from(["wait", "start", "finish", "stop"]))
    def claim(self, job: int, then: str) -> None:
        batch = self.take_next(job)
        if batch and then != "wait":
            self.start(batch, stop=then == "stop")
        if batch and then in ("finish", "stop"):
            self.finish(batch, stalls=False, failing=0)

    @some("idle_jobs")
    @rule(job=one_of("idle_jobs"))
    def die_at_once(self, job: int) -> None:
        """A job takes what is next and dies with it, and a minute passes."""
        batch = self.take_next(job)
        if batch:
            self.expire(batch.claim.id)
        self.crash(job)

    def take_next(self, job: int) -> Batch | None:
        """As a run does it: suspects only, and first, with nothing else in hand."""
        suspects = job in self.idle_jobs and self.take_suspects(self.jobs[job])
        return suspects or self.take_pending(self.jobs[job])

    def take_pending(self, job: Job) -> Batch | None:
        leftovers = self.leftovers_of(job)
        sparse = len(self.items) % 2 == 1  # as good as chance, and the same in each repetition
        known = {lane: LaneProgress(sparse=sparse) for lane in (0, 1)}
        claim = job.hand.claim_pending(job.pace.items, known)
        self.give_back(*leftovers)
        assert job.hand.has_suspects() == bool(self.ended_claims())
        if claim is None:
            assert not self.free_ids(), "there was something to claim"
            return None
        self.check_pending(claim, sparse)
        return self.hand_out(claim, job)

    def leftovers_of(self, job: Job) -> list[Claim]:
        return [claim for claim in self.given.values() if claim.owner in job.hand.unreleased]

    def take_suspects(self, job: Job) -> Batch | None:
        leftovers = self.leftovers_of(job)
        suspects = job.hand.claim_suspect()
        claim, set_aside = suspects.claim, len(suspects.crashed)
        self.give_back(*leftovers)
        self.count_losses()
        assert self.set_aside() == set_aside
        self.forget_deaths()
        if claim is None:
            assert not self.ended_claims(), "there was a suspect to claim"
            return None
        self.check_suspect(claim)
        return self.hand_out(claim, job)

    def check_suspect(self, claim: Claim) -> None:
        """Something in it is pending, and it has not killed too many jobs yet."""
        assert claim.suspect
        assert self.covered_by(claim)
        if claim.first_id == claim.last_id:
            assert self.deaths[claim.scope.lane, claim.first_id] < MAX_ISOLATED_CRASHES

    def check_pending(self, claim: Claim, sparse: bool) -> None:
        """It begins at the first item of the lowest lane that nobody has, and is bounded."""
        free = [(self.items[i].lane, i) for i in self.free_ids(without=claim.id)]
        covered = self.covered_by(claim)
        of_lane = [i for i in self.pending if self.items[i].lane == claim.scope.lane]
        assert (claim.scope.lane, claim.first_id) == (claim.scope.lane, covered[0]) == min(free)
        assert covered[-1] <= claim.last_id <= of_lane[-1]
        size = len(covered) if sparse else claim.last_id - claim.first_id + 1
        assert size <= CLAIM_ITEMS

    def hand_out(self, claim: Claim, job: Job) -> Batch:
        self.given[claim.id] = claim
        self.batches.append(Batch(claim, job, Door(self.world.database)))
        return self.batches[-1]

    def free_ids(self, without: int | None = None) -> list[int]:
        """Pending items that no claim covers."""
        claims = [c for c in self.world.rows(models.claims)[0] if c.id != without]
        ranges = [(c.lane, range(c.first_id, c.last_id + 1)) for c in claims]
        return [
            i
            for i in self.pending
            if not any(lane == self.items[i].lane and i in ids for lane, ids in ranges)
        ]

    def covered_by(self, claim: Claim) -> list[int]:
        ids = range(claim.first_id, claim.last_id + 1)
        return [i for i in self.pending if self.items[i].lane == claim.scope.lane and i in ids]

    def ended_claims(self) -> list[Record]:
        """Claims that have run out, or that nobody holds."""
        claims = self.world.rows(models.claims)[0]
        return [c for c in claims if c.owner is None or c.id in self.expired]

    def count_losses(self) -> None:
        """Claims that had run out and are there no more: somebody else has taken their items."""
        there = {claim.id for claim in self.world.rows(models.claims)[0]}
        for claim_id in self.expired - there:
            claim = self.given.pop(claim_id)
            if claim.suspect and claim.first_id == claim.last_id:
                self.deaths[claim.scope.lane, claim.first_id] += 1
        self.expired &= there

    def set_aside(self) -> int:
        """How many items were given up on just now; each after its deaths, and no other."""
        rows = self.world.rows(models.failures)[0]
        crashed = {row.item_id for row in rows if row.code == WORKER_CRASHED}
        statuses = {row.id: row.status for row in self.world.rows(models.items)[0]}
        new = [i for i in self.pending if i in crashed and statuses[i] == Status.FAILED]
        for item_id in new:
            assert self.deaths.pop((self.items[item_id].lane, item_id)) == MAX_ISOLATED_CRASHES
            self.items[item_id].becomes_failed(WORKER_CRASHED)
        self.counted["set_aside"] += len(new)
        return len(new)

    def forget_deaths(self) -> None:
        """A suspect that a client deleted or canceled is none any more."""
        claims = self.world.rows(models.claims)[0]
        alone = {(c.lane, c.first_id) for c in claims if c.first_id == c.last_id}
        self.deaths = Counter({i: n for i, n in self.deaths.items() if i in alone})

    # Jobs that predict ---------------------------------------------------------------------------

    @some("unstarted")
    @rule(batch=one_of("unstarted"), stop=st.booleans())
    def start(self, batch: Batch, stop: bool) -> None:
        """The job reads and predicts, and stands before its first transaction; or it is stopped."""
        batch.seen = self.covered_by(batch.claim)
        reaches_the_model = any(self.items[i].data != "oops" for i in batch.seen)
        batch.stopped = stop and reaches_the_model
        self.run(batch, stop)

    def run(self, batch: Batch, stop: bool) -> None:
        event = threading.Event()
        if stop:
            event.set()
        door = cast(Database, batch.door)
        hand = replace(batch.job.hand, database=door)
        job = replace(batch.job, database=door, hand=hand, stop=event)
        batch.work = self.world.pool.submit(job.predict, batch.claim)
        assert batch.door.arrived.wait(PATIENCE)

    @some("batches")
    @rule(
        batch=one_of("batches"),
        stalls=st.booleans(),
        failing=st.sampled_from([0, 0, 0, 0, 1, 2]),
    )
    def finish(self, batch: Batch, stalls: bool, failing: int) -> None:
        """The batch goes on, perhaps after a long stall, perhaps with its database away."""
        if batch.work is None:
            self.start(batch, stop=False)
        if stalls:
            self.a_minute_passes_and_others_take_over(batch)
        left_before = set(batch.job.hand.unreleased)
        error = self.end(batch, failing)
        lost = batch.claim.id not in self.given
        if batch.stopped:
            assert isinstance(error, Stopped)
        elif failing:
            assert isinstance(error, DatabaseUnavailable)
        elif lost:
            assert isinstance(error, ClaimLost)
            self.counted["claims_lost"] += 1
        else:
            assert error is None, repr(error)
            self.expect_stored(batch)
        if error is not None:  # the job gives back whatever it has left until now
            returned = (left_before | {batch.claim.owner}) - batch.job.hand.unreleased
            self.give_back(*(c for c in list(self.given.values()) if c.owner in returned))

    def a_minute_passes_and_others_take_over(self, batch: Batch) -> None:
        if batch.claim.id in self.given:
            self.expire(batch.claim.id)
        for job in self.idle_jobs:
            self.take_suspects(self.jobs[job])

    def end(self, batch: Batch, failing: int) -> BaseException | None:
        assert batch.work is not None
        self.batches.remove(batch)
        batch.door.open(failing)
        return batch.work.exception(PATIENCE)

    def expect_stored(self, batch: Batch) -> None:
        """Those that were read and are still pending; the claim is over."""
        for item_id in set(batch.seen).intersection(self.pending):
            self.items[item_id].is_answered(version_of(batch.job))
        for item_id in range(batch.claim.first_id, batch.claim.last_id + 1):
            self.deaths.pop((batch.claim.scope.lane, item_id), None)
        self.end_claim(batch.claim)
        self.counted["stored"] += 1

    def give_back(self, *claims: Claim) -> None:
        for claim in claims:
            self.counted["given_back"] += claim.id in self.given
            self.end_claim(claim)

    def end_claim(self, claim: Claim) -> None:
        self.given.pop(claim.id, None)
        self.expired.discard(claim.id)

    # Time and death ------------------------------------------------------------------------------

    @some("claims_in_time")
    @rule(claim_id=one_of("claims_in_time"))
    def a_minute_passes_for_a_claim(self, claim_id: int) -> None:
        self.expire(claim_id)

    @rule(job=st.sampled_from(JOBS))
    def renew(self, job: int) -> None:
        """Also a claim that has run out, if nobody has taken its items yet."""
        self.jobs[job].hand.renew()
        in_work = self.batches_of(self.jobs[job])
        self.expired -= {batch.claim.id for batch in in_work if batch.work is not None}

    @some("busy_jobs")
    @rule(job=one_of("busy_jobs"))
    def crash(self, job: int) -> None:
        """A job process dies, with all that it has in hand; another one takes its place."""
        for batch in self.batches_of(self.jobs[job]):
            if batch.work is None:
                self.batches.remove(batch)
            else:
                self.end(batch, FOR_EVER)
        self.jobs[job] = self.world.job(version_of(self.jobs[job]))
        self.counted["crashes"] += 1

    def expire(self, *claim_ids: int) -> None:
        self.expired |= set(claim_ids)
        with self.world.database.write() as connection:
            past = claim_lock.database_time(connection) - timedelta(seconds=1)
            these = update(models.claims).where(models.claims.c.id.in_(claim_ids))
            connection.execute(these.values(expires_at=past))

    # What always holds ---------------------------------------------------------------------------

    @invariant()
    def the_tables_are_as_they_should_be(self) -> None:
        self.counted["steps"] += 1
        tables = models.items, models.predictions, models.failures, models.claims
        items, predictions, failures, claims = self.world.rows(*tables)
        self.check_statuses(items)
        self.check_predictions(predictions)
        self.check_failures(failures)
        self.check_claims(claims)

    def check_statuses(self, rows: Sequence[Record]) -> None:
        """Each acknowledged item is there, in the status that it should have."""
        expected = {i: (item.data, item.status) for i, item in self.items.items()}
        assert {row.id: (row.data, row.status) for row in rows} == expected

    def check_predictions(self, rows: Sequence[Record]) -> None:
        """One for each succeeded item, the right one, and none for any other."""
        found = {(row.item_id, row.model_id): row.prediction for row in rows}
        assert len(found) == len(rows)
        expected = {
            (i, item.predicted_by): PREDICTIONS[item.data]
            for i, item in self.items.items()
            if item.predicted_by is not None
        }
        assert found.items() >= expected.items()
        assert all(self.items[i].set_back for i, _ in found.keys() - expected.keys())

    def check_failures(self, rows: Sequence[Record]) -> None:
        """One for each failed item, with the right code, and none for any other."""
        found = {row.item_id: row.code for row in rows}
        expected = {i: item.code for i, item in self.items.items() if item.code is not None}
        assert found.items() >= expected.items()
        assert all(self.items[i].set_back for i in found.keys() - expected.keys())

    def check_claims(self, rows: Sequence[Record]) -> None:
        """What was handed out stands until it is over or lost; claims of a lane do not overlap."""
        held = {r.id: (r.owner, r.first_id, r.last_id) for r in rows if r.owner is not None}
        given = {c.id: (c.owner, c.first_id, c.last_id) for c in self.given.values()}
        assert held == given
        assert not any(overlap(a, b) for a in rows for b in rows if a is not b)

    # The end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        for job in JOBS:
            self.crash(job)
        if sys.exception() is None:  # else something has failed already
            self.a_fresh_job_brings_every_item_to_an_end()

    def a_fresh_job_brings_every_item_to_an_end(self) -> None:
        self.register(["[[3]]"], 0)  # a run that finds nothing pending does not tidy up
        self.expire(*self.given)
        job = self.world.job(self.world.model_ids[0])
        Run(job, threads=1, on_batch=lambda outcome: None).execute()
        self.count_losses()
        self.set_aside()
        for item_id in self.pending:
            self.items[item_id].is_answered(version_of(job))
        self.the_tables_are_as_they_should_be()
        assert not self.world.rows(models.claims)[0]


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # One batch at a time has a transaction: there is nobody to wait for before the next attempt.
    monkeypatch.setattr("batchline.db.database.BACKOFF", 0)
    model = picky(tmp_path / "picky.onnx")
    with capture_logs(), ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:  # many thousand lines
        yield World(database, model, pool)


def test_jobs_and_clients_in_any_order_leave_the_tables_as_they_should_be(
    world: World, database_kind: str, long: bool, figures: Figures
) -> None:
    seed = random.randrange(2**32) if long else 1
    print(f"seed {seed}")
    machine = hypothesis.seed(seed)(lambda: Jobs(world))
    run_state_machine_as_test(machine, settings=LONG if long else SHORT)
    counted = world.counted
    assert min(counted[event] for event in EVENTS) > 0, f"not everything happened: {counted}"
    figures("state machine", database_kind, **counted, violations=0, seed=seed)


EVENTS = ("stored", "claims_lost", "given_back", "crashes", "set_aside")
SHORT = settings(
    max_examples=15,
    stateful_step_count=50,
    phases=(Phase.generate, Phase.shrink),
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=500)
