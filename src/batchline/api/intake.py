"""Many requests, one transaction.

Requests put their rows on a list; one writer thread drains it into one multi-row INSERT and one
COMMIT, and only then are they answered. A lone request does not wait for company: the writer takes
what is there, and more gathers while it writes. What waits is bounded in number and in bytes.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from batchline.constants import (
    INTAKE_GROUP_BYTES,
    INTAKE_GROUP_ITEMS,
    INTAKE_MAX_BYTES,
    INTAKE_MAX_ITEMS,
    REQUEST_TIMEOUT,
)
from batchline.db import cruds
from batchline.db.cruds import Key
from batchline.db.database import Database
from batchline.errors import CommitUnknown, IdempotencyKeyReused, IntakeFull, Unavailable

Answer = int | IdempotencyKeyReused

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    data: str
    key: Key | None
    answer: asyncio.Future[int]


class Intake:
    """Registers items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._writer = threading.Thread(target=self._write_groups, name="intake", daemon=True)
        self._writer.start()

    async def register(self, data: str, key: Key | None = None) -> int:
        """Store one item; its id, once it is committed. A key that is known gives its item's id.

        Raises:
            IdempotencyKeyReused: the key is known, but came with other data.
            IntakeFull: too much is waiting already.
            CommitUnknown: it may be stored, now or later.
            DatabaseUnavailable: nothing was stored.
        """
        answer: asyncio.Future[int] = self._loop.create_future()
        with self._changed:
            if self._closing or self._is_full():
                raise IntakeFull("the intake is full", hint="send it again in a moment")
            self._waiting.append(_Waiting(data, key, answer))
            self._bytes += len(data)
            self._changed.notify()
        try:
            return await asyncio.wait_for(answer, REQUEST_TIMEOUT)
        except TimeoutError:
            raise CommitUnknown(
                f"the database has not confirmed the COMMIT for {REQUEST_TIMEOUT} seconds",
                hint="is the server hanging, or its disk?",
            ) from None

    async def close(self) -> None:
        """Store what waits, and end the writer."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._writer.join)

    def _is_full(self) -> bool:
        return len(self._waiting) >= INTAKE_MAX_ITEMS or self._bytes >= INTAKE_MAX_BYTES

    def _write_groups(self) -> None:
        while group := self._next_group():
            try:
                answers = self._database.transaction(partial(_store, group))
                self._loop.call_soon_threadsafe(_answer, group, answers)
            except Exception as error:
                if not isinstance(error, Unavailable):
                    log.error("intake failed", exc_info=error)
                self._loop.call_soon_threadsafe(_refuse, group, error)

    def _next_group(self) -> list[_Waiting]:
        """What waits, up to a bound; sleeps while there is nothing; [] when it is time to end."""
        group: list[_Waiting] = []
        with self._changed:
            while not group:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                group = [waiting for waiting in self._take() if not waiting.answer.done()]
        return group

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < INTAKE_GROUP_ITEMS:
            next_size = len(self._waiting[0].data)
            if taken and size + next_size > INTAKE_GROUP_BYTES:
                break
            taken.append(self._waiting.popleft())
            size += next_size
        self._bytes -= size
        return taken


def _store(group: list[_Waiting], connection: Connection) -> Sequence[Answer]:
    return store(connection, [w.data for w in group], [w.key for w in group])


def store(
    connection: Connection, data: Sequence[str], keys: Sequence[Key | None]
) -> Sequence[Answer]:
    """The id, or the refusal, for each registration; keys are stored with their items.

    Raises:
        IntegrityError: another transaction was faster with one of the keys; try again.
    """
    if not any(keys):
        return cruds.register_items(connection, data)
    known = cruds.items_of_keys(connection, [key.key for key in keys if key])
    # What becomes an item: each registration without a key, and the first with each new key.
    slots = [key.key if key else str(place) for place, key in enumerate(keys)]
    new: dict[str, int] = {}
    for place, slot in enumerate(slots):
        if slot not in known:
            new.setdefault(slot, place)
    ids = cruds.register_items(connection, [data[place] for place in new.values()])
    stored = [(slot, keys[new[slot]], item_id) for slot, item_id in zip(new, ids, strict=True)]
    cruds.store_keys(connection, [(key, item_id) for _, key, item_id in stored if key])
    known |= {slot: (key.data if key else "", item_id) for slot, key, item_id in stored}
    return [_answer_to(key, *known[slot]) for slot, key in zip(slots, keys, strict=True)]


def _answer_to(key: Key | None, data: str, item_id: int) -> Answer:
    if key is None or key.data == data:
        return item_id
    return IdempotencyKeyReused(
        f"this Idempotency-Key came before, with other data, as item {item_id}",
        hint="use a new key for each new request",
    )


def _answer(group: list[_Waiting], answers: Sequence[Answer]) -> None:
    for waiting, answer in zip(group, answers, strict=True):
        if waiting.answer.done():  # a client that hung up has cancelled its own
            continue
        if isinstance(answer, int):
            waiting.answer.set_result(answer)
        else:
            waiting.answer.set_exception(answer)


def _refuse(group: list[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
