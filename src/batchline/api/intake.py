"""Many requests, one transaction.

Requests put their rows on a list; one writer thread drains it into one multi-row INSERT and one
COMMIT, and only then are they answered. A lone request does not wait for company: the writer takes
what is there, and more gathers while it writes. What waits is bounded in number and in bytes.
"""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

import structlog

from batchline.constants import (
    INTAKE_GROUP_BYTES,
    INTAKE_GROUP_ITEMS,
    INTAKE_MAX_BYTES,
    INTAKE_MAX_ITEMS,
)
from batchline.db import cruds
from batchline.db.database import Database
from batchline.errors import IntakeFull, Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    data: str
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

    async def register(self, data: str) -> int:
        """Store one item; its id, once it is committed.

        Raises:
            IntakeFull: too much is waiting already.
            DatabaseUnavailable: nothing was stored.
        """
        answer: asyncio.Future[int] = self._loop.create_future()
        with self._changed:
            if self._closing or self._is_full():
                raise IntakeFull("the intake is full", hint="send it again in a moment")
            self._waiting.append(_Waiting(data, answer))
            self._bytes += len(data)
            self._changed.notify()
        return await answer

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
                ids = self._database.transaction(
                    lambda connection: cruds.register_items(
                        connection, [waiting.data for waiting in group]
                    )
                )
                self._loop.call_soon_threadsafe(_answer, group, ids)
            except Exception as error:
                if not isinstance(error, Unavailable):
                    log.error("intake failed", exc_info=error)
                self._loop.call_soon_threadsafe(_refuse, group, error)

    def _next_group(self) -> list[_Waiting]:
        """What waits, up to a bound; sleeps while there is nothing; [] when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            group: list[_Waiting] = []
            size = 0
            while self._waiting and len(group) < INTAKE_GROUP_ITEMS and size < INTAKE_GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += len(group[-1].data)
            self._bytes -= size
            return group


def _answer(group: list[_Waiting], ids: list[int]) -> None:
    for waiting, item_id in zip(group, ids, strict=True):
        if not waiting.answer.done():  # a client that hung up has cancelled its own
            waiting.answer.set_result(item_id)


def _refuse(group: list[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
