"""Clients that register until they are acknowledged, and the audit of what was acknowledged.

Item number n is the row [n, n + 1] under a key of its own, for the model `tests.models.doubling`.
So each stored row says which registration it is, and which prediction it must have.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import httpx

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests.service import PATIENCE, wait_for

PAUSE = 0.05
"""Seconds before a client sends again: far less than Retry-After, so that it meets the outage."""

Rows = list[tuple[Any, ...]]


def row(number: int) -> list[float]:
    return [number, number + 1]


def expected(number: int) -> dict[str, list[float]]:
    return {"doubled": [2 * number, 2 * number + 2]}


def key_of(number: int) -> str:
    return f"number-{number}"


def number_of(key: str) -> int:
    return int(key.removeprefix("number-"))


class Registrars:
    """Client threads; each registers one item after the other, each until it is acknowledged.

    Leaving the block lets every client finish the item that it has in hand, so that afterwards
    whatever is stored was also acknowledged; an answer that is none of 202 and 503 is raised there.
    """

    def __init__(
        self,
        url: str,
        *,
        threads: int = 4,
        numbers: Iterable[int] | None = None,
        patience: float = 2 * PATIENCE,
    ) -> None:
        self.acknowledged: dict[str, int] = {}
        self.answers: Counter[str] = Counter()
        self._url, self._patience = url, patience
        self._numbers = iter(itertools.count(1) if numbers is None else numbers)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[Exception] = []
        self._clients = [threading.Thread(target=self._register_all) for _ in range(threads)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._stop.set()
        if kind is not None:
            self._patience = 0  # the test has failed already: nobody waits for acknowledgements
        for client in self._clients:
            client.join()
        if kind is None and self._errors:
            raise self._errors[0]

    def __len__(self) -> int:
        return len(self._clients)

    def wait_for_more(self, count: int, patience: float = PATIENCE) -> None:
        """Return when `count` more items have been acknowledged than now."""
        goal = len(self.acknowledged) + count
        wait_for(lambda: self._reached(goal), f"{count} more acknowledgements", patience)

    def wait_for_end(self, patience: float = PATIENCE) -> None:
        """Return when all of the given numbers have been acknowledged."""
        wait_for(lambda: not self._running(), "the last acknowledgement", patience)

    def _reached(self, goal: int) -> bool:
        assert not self._errors, self._errors[0]
        return len(self.acknowledged) >= goal

    def _running(self) -> bool:
        assert not self._errors, self._errors[0]
        return any(client.is_alive() for client in self._clients)

    def _register_all(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE, trust_env=False) as http:
            while not self._stop.is_set() and (number := self._next()) is not None:
                try:
                    self._register(http, number)
                except Exception as error:  # raised in the test's own thread
                    self._errors.append(error)
                    return

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _register(self, http: httpx.Client, number: int) -> None:
        started = time.monotonic()
        while (item_id := self._send(http, number)) is None:
            waited = time.monotonic() - started
            assert waited <= self._patience, (
                f"{key_of(number)}: not acknowledged for {waited:.0f} s"
            )
            time.sleep(PAUSE)
        self.acknowledged[key_of(number)] = item_id

    def _send(self, http: httpx.Client, number: int) -> int | None:
        """The item's id if it was acknowledged, None if it must be sent again."""
        headers = {"Idempotency-Key": key_of(number)}
        try:
            response = http.post("/predict", json={"data": [row(number)]}, headers=headers)
        except httpx.TransportError:
            self._count("no_answer")
            return None
        assert response.status_code in (202, 503), response.text
        answer = response.json()
        self._count(answer.get("code", "registered"))
        return int(answer["id"]) if response.status_code == 202 else None

    def _count(self, answer: str) -> None:
        with self._lock:
            self.answers[answer] += 1


def store(database: Database, numbers: Iterable[int], lane: int = 0) -> dict[str, int]:
    """Register items in one transaction and without HTTP; the ids, as Registrars gives them."""
    numbers = list(numbers)
    data = [json.dumps([row(number)]) for number in numbers]
    new = NewItems(data, lane=lane)
    ids = database.transaction(lambda connection: items.register(connection, new))
    return {key_of(number): item_id for number, item_id in zip(numbers, ids, strict=True)}


def settle(database: Database, patience: float = PATIENCE) -> None:
    """Return when nothing is pending, with a job that runs and no more faults.

    A claim that nobody knows of (its COMMIT was not confirmed, its job was killed) runs out after
    a minute; here it does so at once.
    """
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE claims SET expires_at = '2020-01-01 00:00:00'")
    wait_for(lambda: count_pending(database) == 0, "the last prediction", patience)


@dataclass(frozen=True, slots=True)
class Audit:
    """What is wrong with a database: `assert audit(database, acknowledged) == Audit()`."""

    lost: int = 0
    """Acknowledged, but not stored under the id that was answered."""
    doubled: int = 0
    """Registrations stored more than once, and further predictions of an item that has one."""
    torn: int = 0
    """Items whose status and predictions or failures disagree, and answers without an item."""
    wrong: int = 0
    """Predictions that are those of another row."""
    unfinished: int = 0
    """Items that have not succeeded."""


def audit(database: Database, acknowledged: dict[str, int]) -> Audit:
    """Compare what was acknowledged with what is stored; call it when nothing is written."""
    items = read(database, "SELECT id, data, status FROM items")
    predictions = read(database, "SELECT item_id, prediction FROM predictions")
    failures = read(database, "SELECT item_id FROM failures")
    numbers = {item_id: _number(data) for item_id, data, _ in items}
    statuses = {item_id: status for item_id, _, status in items}
    return Audit(
        lost=sum(numbers.get(id_) != number_of(key) for key, id_ in acknowledged.items()),
        doubled=_repeats(numbers.values()) + _repeats(item_id for item_id, _ in predictions),
        torn=_torn(statuses, {row[0] for row in predictions}, {row[0] for row in failures}),
        wrong=sum(id_ in numbers and not _fits(numbers[id_], text) for id_, text in predictions),
        unfinished=sum(status != "succeeded" for status in statuses.values()),
    )


def read(database: Database, query: str) -> Rows:
    with database.read() as connection:
        return [tuple(found) for found in connection.exec_driver_sql(query)]


def count_pending(database: Database) -> int:
    return int(read(database, "SELECT count(*) FROM items WHERE status = 'pending'")[0][0])


def _number(data: str) -> int:
    rows = json.loads(data)
    assert rows == [row(rows[0][0])], f"a row that no client sent: {data}"
    return int(rows[0][0])


def _fits(number: int, prediction: str) -> bool:
    return bool(json.loads(prediction) == expected(number))


def _repeats(values: Iterable[int]) -> int:
    return sum(count - 1 for count in Counter(values).values())


def _torn(statuses: dict[int, str], predicted: set[int], failed: set[int]) -> int:
    succeeded = {item_id for item_id, status in statuses.items() if status == "succeeded"}
    set_aside = {item_id for item_id, status in statuses.items() if status == "failed"}
    return len((succeeded ^ predicted) | (set_aside ^ failed))
