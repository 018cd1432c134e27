"""Clients, versions, backfills and killed jobs at once: at the end each prediction is right.

Several SQL clients insert, correct, cancel, delete and reset items, in transactions that stay open
for random times. Meanwhile versions are activated, backfills start, and jobs are killed. Afterwards
`batchline verify --all` finds nothing, and an independent computation agrees.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from batchline.db import backfills
from batchline.db.backfills import NewBackfill
from batchline.db.cruds import versions
from batchline.db.database import Database
from batchline.registry.version import read_versions
from tests import models
from tests.faults.conftest import Figures
from tests.faults.test_kill_loop import Kept
from tests.in_process import run_here
from tests.jobs import ACTOR, add_model
from tests.service import PATIENCE, wait_for

CLIENTS = 4
NAMES = ("default", "other")
LANES = (-3, 0, 0, 1, 1)
LONGEST_PAUSE = 0.03
"""Seconds that a client's transaction stays open between two statements, at most."""


def doubled(number: int) -> dict[str, list[float]]:
    return {"doubled": [2.0 * number, 2.0 * number]}


def negated(number: int) -> dict[str, list[float]]:
    return {"negated": [-1.0 * number, -1.0 * number]}


RIGHT = {
    ("default", 1): doubled,
    ("default", 2): negated,
    ("other", 1): negated,
    ("other", 2): doubled,
}
"""What each version predicts for a row that has the same number twice."""


@dataclass
class Client:
    """An SQL client that changes a few items in each of its transactions."""

    database: Database
    dice: random.Random
    over: threading.Event
    done: Counter[str] = field(default_factory=Counter)

    def work(self) -> None:
        while not self.over.is_set():
            steps = self.dice.choices(
                [self.insert, self.correct, self.cancel, self.delete, self.reset],
                weights=[4, 3, 1, 1, 3],
                k=self.dice.randint(1, 3),
            )
            self.database.transaction(lambda connection: self._execute(connection, steps))  # noqa: B023
            self.done.update(step.__name__ for step in steps)

    def _execute(self, connection: Connection, steps: list[Callable[[Connection], None]]) -> None:
        for step in steps:
            step(connection)
            time.sleep(self.dice.uniform(0, LONGEST_PAUSE))  # the transaction stays open

    def insert(self, connection: Connection) -> None:
        for _ in range(self.dice.randint(1, 20)):
            statement = text("INSERT INTO items (data, model, lane) VALUES (:data, :model, :lane)")
            connection.execute(statement, self._new())

    def correct(self, connection: Connection) -> None:
        """Another number, and perhaps another model or lane, for an item that waits."""
        self._update(connection, "data = :data, model = :model, lane = :lane", "pending")

    def cancel(self, connection: Connection) -> None:
        self._update(connection, "status = 'canceled'", "pending")

    def reset(self, connection: Connection) -> None:
        """New data for an item that is finished or canceled."""
        for status in ("succeeded", "canceled"):
            self._update(connection, "data = :data, model = :model, status = 'pending'", status)

    def delete(self, connection: Connection) -> None:
        item_id = self._any_id(connection)
        for table, column in (("items", "id"), ("predictions", "item_id"), ("failures", "item_id")):
            statement = text(f"DELETE FROM {table} WHERE {column} = :id")
            connection.execute(statement, {"id": item_id})

    def _update(self, connection: Connection, values: str, status: str) -> None:
        statement = text(f"UPDATE items SET {values} WHERE id = :id AND status = '{status}'")
        new = {**self._new(), "id": self._any_id(connection)}
        connection.execute(statement, {k: v for k, v in new.items() if f":{k}" in str(statement)})

    def _new(self) -> dict[str, str | int]:
        number, lane = self.dice.randrange(1_000), self.dice.choice(LANES)
        return {
            "data": f"[[{number}, {number}]]",
            "model": self.dice.choice(NAMES),
            "lane": lane,
        }

    def _any_id(self, connection: Connection) -> int:
        newest = connection.execute(text("SELECT max(id) FROM items")).scalar() or 1
        return self.dice.randint(max(1, newest - 200), newest)


@contextmanager
def clients(url: str, dice: random.Random) -> Iterator[list[Client]]:
    """Clients that work until the block ends."""
    over = threading.Event()
    with closing(Database(url)) as database, ThreadPoolExecutor(CLIENTS) as pool:
        found = [Client(database, random.Random(dice.random()), over) for _ in range(CLIENTS)]
        threads = [pool.submit(client.work) for client in found]
        try:
            yield found
        finally:
            over.set()
            for thread in threads:
                thread.result(PATIENCE)


def has_done_everything(clients: list[Client]) -> bool:
    """Whether each kind of change was committed at least once."""
    done = {what for client in clients for what in [*client.done]}
    return done >= {"insert", "correct", "cancel", "delete", "reset"}


def change_something(database: Database, dice: random.Random) -> None:
    """Activate a version, or start a backfill if none is left."""
    version = dice.choice(read_versions(database))
    with database.read() as connection:
        is_busy = backfills.has_unfinished(connection)  # each reads all items, which grow
    if is_busy or dice.random() < 0.6:
        database.transaction(lambda c: versions.activate(c, version.name, version.id, ACTOR))
    else:
        new = NewBackfill(version.name, version.id, "succeeded")
        database.transaction(lambda c: backfills.start(c, new, ACTOR))


def expire_claims(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE claims SET expires_at = '2001-01-01 00:00:00'")


def is_idle(database: Database) -> bool:
    with database.read() as connection:
        waiting = connection.exec_driver_sql("SELECT count(*) FROM items WHERE status = 'pending'")
        return waiting.scalar() == 0 and not backfills.has_unfinished(connection)


@pytest.mark.timeout(3600)
def test_each_prediction_belongs_to_its_items_data_and_model_whatever_happens_at_once(
    database: Database,
    database_url: str,
    database_kind: str,
    tmp_path: Path,
    long: bool,
    figures: Figures,
) -> None:
    seed = random.randrange(2**32) if long else 1
    dice = random.Random(seed)
    first, second = models.doubling(tmp_path / "d.onnx"), models.negated(tmp_path / "n.onnx")
    for name, files in (("default", (first, second)), ("other", (second, first))):
        for file in files:
            add_model(database, file, name=name)
    settings = {"DATABASE_URL": database_url, "BATCH_WAIT_TIME": "0.05", "LOG_LEVEL": "WARNING"}
    kills = 0
    with Kept("job", **settings) as one, Kept("job", **settings) as two:
        with clients(database_url, dice) as working:
            ends = time.monotonic() + (450 if long else 4)
            while time.monotonic() < ends or not has_done_everything(working):
                time.sleep(dice.uniform(0.1, 0.5))  # chance chooses the moment
                change_something(database, dice)
                if dice.random() < (0.3 if long else 0.2):
                    dice.choice([one, two]).kill()
                    expire_claims(database)
                    kills += 1
        expire_claims(database)
        wait_for(lambda: is_idle(database), "the last prediction", 2 * PATIENCE)
    done = sum((client.done for client in working), Counter())
    done["kills"] = kills
    verified = run_here("verify", "--all", DATABASE_URL=database_url)
    figures("attack", database_kind, **done, wrong=count_wrong(database), seed=seed)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert count_wrong(database) == 0


def count_wrong(database: Database) -> int:
    """How many predictions are not what their version gives for the item's data."""
    with database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT items.data, items.model, items.status, models.name, models.version, prediction"
            " FROM predictions JOIN models ON models.id = model_id"
            " LEFT JOIN items ON items.id = item_id"
        ).all()
        missing = connection.exec_driver_sql(
            "SELECT count(*) FROM items WHERE status = 'succeeded' AND NOT EXISTS"
            " (SELECT 1 FROM predictions WHERE item_id = items.id)"
        ).scalar()
    assert rows
    wrong = 0
    for data, model, status, name, version, prediction in rows:
        if status == "canceled":  # it may have been reset, and canceled before it was predicted
            continue
        number = None if data is None else int(json.loads(data)[0][0])
        right = number is not None and RIGHT[name, version](number) == json.loads(prediction)
        wrong += not (right and name == model)
    return wrong + int(missing or 0)
