"""API and two jobs under load, of which one is killed again and again: `kill -9`, no warning."""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from batchline.constants import UPLOAD_LANE
from batchline.db.database import Database
from devservers.server import free_port
from tests import models
from tests.faults import load
from tests.faults.conftest import Figures
from tests.service import Command, children_of, migrate, wait_for

SEED = 20261124
BACKLOG, SHORT_BACKLOG = 10_000, 2_000
FIRST_BULK_NUMBER = 4_000_000


class Kept:
    """A command that is started again whenever it was killed."""

    def __init__(self, *words: str, **settings: str) -> None:
        self.start: Callable[[], Command] = lambda: Command(*words, **settings)
        self._command = self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._command.__exit__(*exception)

    @property
    def mark(self) -> str:
        """What the owner of each of its claims contains."""
        return f"-{self._command.process.pid}-"

    def kill(self) -> None:
        children = children_of(self._command.process.pid)
        self._command.send(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):  # it has noticed the end of its parent
                os.kill(child, signal.SIGKILL)
        self._command.wait()
        self._command.__exit__()
        self._command = self.start()


@dataclass
class KillLoop:
    """What happens between two kills, and what was counted."""

    database: Database
    registrars: load.Registrars
    dice: random.Random
    backlog: int = BACKLOG
    acknowledged: dict[str, int] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)
    interrupted: int = 0
    """Items in the claims of killed jobs: at most these were computed twice."""

    def top_up(self) -> None:
        """Keep a backlog as uploads leave it, next to the single requests of the registrars."""
        if load.count_pending(self.database) < self.backlog:
            first = FIRST_BULK_NUMBER + len(self.acknowledged)
            numbers = range(first, first + self.backlog)
            self.acknowledged |= load.store(self.database, numbers, UPLOAD_LANE)

    def kill_api(self, api: Kept) -> None:
        time.sleep(self.dice.uniform(0, 0.1))  # the very moment is what chance shall choose
        killed = time.monotonic()
        api.kill()
        self.registrars.wait_for_more(1)
        self.recoveries.append(time.monotonic() - killed)

    def kill_job(self, job: Kept) -> None:
        mark = job.mark
        wait_for(lambda: self._claims_after_top_up(mark), "a claim of the job")
        time.sleep(self.dice.uniform(0, 0.1))
        job.kill()
        for claim_id, first, last, lane in self._claims(mark):
            self.interrupted += self._count_pending(first, last, lane)
            self._let_run_out(claim_id)

    def _claims_after_top_up(self, mark: str) -> load.Rows:
        self.top_up()
        return self._claims(mark)

    def _claims(self, mark: str) -> load.Rows:
        rows = load.read(self.database, "SELECT owner, id, first_id, last_id, lane FROM claims")
        return [(*ids,) for owner, *ids in rows if owner and mark in owner]

    def _count_pending(self, first: int, last: int, lane: int) -> int:
        query = (
            "SELECT count(*) FROM items"
            f" WHERE status = 'pending' AND lane = {lane} AND id BETWEEN {first} AND {last}"
        )
        return int(load.read(self.database, query)[0][0])

    def _let_run_out(self, claim_id: int) -> None:
        """A minute passes, for this claim alone."""
        statement = f"UPDATE claims SET expires_at = '2020-01-01 00:00:00' WHERE id = {claim_id}"
        self.database.transaction(lambda connection: connection.exec_driver_sql(statement))


def test_processes_killed_at_random_lose_and_double_nothing(
    database: Database,
    database_url: str,
    database_kind: str,
    tmp_path: Path,
    long: bool,
    figures: Figures,
) -> None:
    kills = 210 if long else 3  # of the API and of each job
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "MODEL_FILEPATH": str(models.doubling(tmp_path / "doubling.onnx")),
        "BATCH_WAIT_TIME": "0.05",
        "LOG_LEVEL": "ERROR",
    }
    migrate(database_url, MODEL_FILEPATH=settings["MODEL_FILEPATH"])
    api = Kept("api", PORT=str(port), **settings)
    jobs = [Kept("job", **settings) for _ in range(2)]
    with api, jobs[0], jobs[1]:
        with load.Registrars(f"http://127.0.0.1:{port}") as registrars:
            backlog = BACKLOG if long else SHORT_BACKLOG
            loop = KillLoop(database, registrars, random.Random(SEED), backlog)
            registrars.wait_for_more(1)
            for turn in range(kills):
                if turn % 3 == 0:
                    loop.kill_api(api)
                else:
                    loop.kill_job(jobs[turn % 3 - 1])
        load.settle(database, patience=900 if long else 100)
    acknowledged = loop.acknowledged | registrars.acknowledged
    found = load.audit(database, acknowledged)
    failed = load.read(database, "SELECT item_id, code, detail FROM failures")
    assert (found, failed) == (load.Audit(), [])
    figures(
        "kill loop",
        database_kind,
        kills=kills,
        rows=len(acknowledged),
        lost=found.lost,
        doubled=found.doubled,
        wrong=found.wrong,
        torn=found.torn,
        computed_twice_at_most=f"{loop.interrupted / len(acknowledged):.1%}",
        api_back_after_seconds=round(statistics.median(loop.recoveries), 2),
        seed=SEED,
    )
