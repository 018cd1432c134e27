"""Many claimers and registrars at once: the deadlocks that come are nobody's error."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import pytest
from sqlalchemy import Connection

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.task.hand import Hand
from batchline.task.job import Job
from batchline.task.pace import Pace
from devservers import Server
from tests import models
from tests.conftest import KINDS, Servers
from tests.faults.conftest import Figures
from tests.faults.load import Audit, audit, count_pending, key_of, row, store
from tests.jobs import make_job
from tests.service import PATIENCE, wait_for

CLAIMERS, REGISTRARS = 32, 16
CLAIM_ITEMS, GROUP_ITEMS = 20, 5
FEW = 0.01
"""Seconds that a claimer which found nothing waits for more."""
DEADLOCKS = {
    "mysql": "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'",
    "mariadb": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'INNODB_DEADLOCKS'",
    "postgresql": "SELECT sum(deadlocks) FROM pg_stat_database",
}


@pytest.fixture(params=[kind for kind in KINDS if kind != "sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass
class Storm:
    """What the threads of one storm share; each has a connection of its own."""

    url: str
    job: Job
    numbers: Iterator[int]
    stored: dict[str, int] = field(default_factory=dict)
    surfaced: list[Exception] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self) -> None:
        """Small groups of items, until there are no more numbers."""
        with closing(Database(self.url, pool_size=1)) as database:
            while group := self._next_numbers():
                with self._noting_what_surfaces():
                    self.stored |= store(database, group)

    def predict(self) -> None:
        """Batch after batch, until the storm is over."""
        with closing(Database(self.url, pool_size=1)) as database:
            owner = f"claimer {threading.get_ident()}"
            job = replace(self.job, database=database, hand=Hand(database, owner))
            while not self.over.is_set():
                with self._noting_what_surfaces():
                    self._predict_next(job)

    def collide(self, ids: Sequence[int], rounds: int) -> None:
        """Deadlocks on purpose: two transactions lock the same two items, in opposite orders."""
        numbers = count(1_000_000)
        # A claimer that stores the two would wait for the one, and keep the other from its thread.
        wait_for(lambda: are_predicted(self.job.database, ids), "the prediction of both")
        for _ in range(rounds):
            barrier = threading.Barrier(2, timeout=PATIENCE)
            with ThreadPoolExecutor(2) as pool:
                for order in (ids, ids[::-1]):
                    pool.submit(self._lock_both, order, barrier, next(numbers))

    def _lock_both(self, ids: Sequence[int], barrier: threading.Barrier, number: int) -> None:
        attempts = count()

        def work(connection: Connection) -> list[int]:
            registered = items.register(connection, NewItems([json.dumps([row(number)])]))
            lock_item(connection, ids[0])
            if next(attempts) == 0:
                barrier.wait()  # both hold one lock, and will want the other
            lock_item(connection, ids[1])
            return registered

        with self._noting_what_surfaces():
            self.stored[key_of(number)] = self.job.database.transaction(work)[0]

    def _predict_next(self, job: Job) -> None:
        claim = job.hand.claim_pending(job.pace.items)
        if claim is None:
            self.over.wait(FEW)
        else:
            job.predict(claim)

    def _next_numbers(self) -> list[int]:
        with self.lock:
            return list(islice(self.numbers, GROUP_ITEMS))

    @contextmanager
    def _noting_what_surfaces(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.surfaced.append(error)


@pytest.mark.timeout(3600)
def test_deadlocks_between_claimers_and_registrars_reach_nobody_and_each_item_is_predicted_once(
    database: Database,
    database_url: str,
    database_kind: str,
    servers: Servers,
    tmp_path: Path,
    long: bool,
    figures: Figures,
) -> None:
    total, rounds = (50_000, 50) if long else (1_000, 2)
    server = servers.get(database_kind)
    before = count_deadlocks(server)
    job = replace(
        make_job(database, models.doubling(tmp_path / "m.onnx")),
        pace=Pace(CLAIM_ITEMS, most=CLAIM_ITEMS),
    )
    storm = Storm(database_url, job, iter(range(total)))
    rage(storm, rounds, patience=1800 if long else PATIENCE)
    wait_for(lambda: count_deadlocks(server) >= before + rounds, "the server's own count")
    deadlocks = count_deadlocks(server) - before
    found = audit(database, storm.stored)
    figures(
        "deadlock storm",
        database_kind,
        claimers=CLAIMERS,
        registrars=REGISTRARS,
        items=len(storm.stored),
        deadlocks=deadlocks,
        provoked=rounds,
        surfaced=len(storm.surfaced),
        lost=found.lost,
        doubled=found.doubled,
        torn=found.torn,
    )
    assert storm.surfaced == []
    assert len(storm.stored) == total + 2 * rounds + 2
    assert found == Audit()


def rage(storm: Storm, rounds: int, patience: float) -> None:
    """Return when everything is registered and predicted, and every thread has ended."""
    database = storm.job.database
    pair = store(database, (2_000_000, 2_000_001))
    storm.stored |= pair
    with ThreadPoolExecutor(CLAIMERS + REGISTRARS + 1) as pool:
        claimers = [pool.submit(storm.predict) for _ in range(CLAIMERS)]
        others = [pool.submit(storm.register) for _ in range(REGISTRARS)]
        others.append(pool.submit(storm.collide, list(pair.values()), rounds))
        try:
            wait(others)
            wait_for(lambda: count_pending(database) == 0, "the last prediction", patience)
        finally:
            storm.over.set()
    for thread in (*claimers, *others):
        thread.result()


def are_predicted(database: Database, ids: Sequence[int]) -> bool:
    with database.read() as connection:
        return all(
            found and found.status != "pending"
            for found in (items.get(connection, each) for each in ids)
        )


def lock_item(connection: Connection, item_id: int) -> None:
    connection.exec_driver_sql(f"SELECT id FROM items WHERE id = {item_id} FOR UPDATE").all()


def count_deadlocks(server: Server) -> int:
    """How many the server has broken since it was started."""
    return int(server.execute(DEADLOCKS[server.name])[0][0])
