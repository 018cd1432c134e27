"""Many requests, one transaction.

Requests put their rows together; one thread stores them with one multi-row INSERT and one COMMIT,
and only then are they answered. What waits to be stored is bounded in number and in bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from batchline.api.coalescing import Bounds, Coalescer
from batchline.api.requests import NewItem
from batchline.constants import (
    INTAKE_GROUP_BYTES,
    INTAKE_GROUP_ITEMS,
    INTAKE_MAX_BYTES,
    INTAKE_MAX_ITEMS,
    REQUEST_TIMEOUT,
)
from batchline.db.cruds import idempotency
from batchline.db.cruds.idempotency import Key, Registered
from batchline.db.database import Database
from batchline.errors import CommitUnknown, IntakeFull


@dataclass(slots=True)
class Registration:
    """What one request asks for."""

    item: NewItem
    key: Key | None


class WriteQueue:
    """Registers items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        bounds = Bounds(INTAKE_GROUP_ITEMS, INTAKE_GROUP_BYTES)
        self._coalescer = Coalescer[Registration, int](
            "intake", self._store, bounds, _not_confirmed
        )

    async def register(self, item: NewItem, key: Key | None = None) -> int:
        """Store one item; its id, once it is committed. A key that is known gives its item's id.

        Raises:
            IdempotencyKeyReused: the key is known, but came with other data.
            IntakeFull: too much is waiting already.
            CommitUnknown: it may be stored, now or later.
            DatabaseUnavailable: nothing was stored.
        """
        if self._is_full():
            raise IntakeFull("the intake is full", hint="send it again in a moment")
        return await self._coalescer.submit(Registration(item, key), len(item.data))

    async def close(self) -> None:
        """Store what waits, and end the writer."""
        await self._coalescer.close()

    def _is_full(self) -> bool:
        queue = self._coalescer
        full = queue.count >= INTAKE_MAX_ITEMS or queue.bytes >= INTAKE_MAX_BYTES
        return queue.closing or full

    def _store(self, group: list[Registration]) -> Sequence[Registered]:
        data, models = [each.item.data for each in group], [each.item.model for each in group]
        keys = [each.key for each in group]
        return self._database.transaction(lambda c: idempotency.register(c, data, models, keys))


def _not_confirmed() -> CommitUnknown:
    return CommitUnknown(
        f"the database has not confirmed the COMMIT for {REQUEST_TIMEOUT} seconds",
        hint="is the server hanging, or its disk?",
    )
