"""Many registrations share one transaction.

One thread stores the queued items with one multi-row INSERT and one COMMIT. Then it returns an id
to each client. The queue has a limit in items and one in bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from batchline.api.coalescing import Bounds, Coalescer
from batchline.api.requests import NewItem
from batchline.api.store_health import StoreHealth
from batchline.constants import (
    REQUEST_TIMEOUT,
    WRITE_QUEUE_GROUP_BYTES,
    WRITE_QUEUE_GROUP_ITEMS,
    WRITE_QUEUE_MAX_BYTES,
    WRITE_QUEUE_MAX_ITEMS,
)
from batchline.db.cruds import idempotency
from batchline.db.cruds.idempotency import Registered
from batchline.db.database import Database
from batchline.db.new_items import Key, NewItems
from batchline.errors import BatchlineError, CommitUnknown, IntakeFull, ShuttingDown
from batchline.request_ids import UNKNOWN, Origin


@dataclass(slots=True)
class Registration:
    """An item to store, with the idempotency key, the API key and the origin of its request.

    If it is refused, it is not stored, and only a known key gives it an id.
    """

    item: NewItem
    key: Key | None
    api_key_id: int | None
    origin: Origin
    refused: BatchlineError | None


class WriteQueue:
    """Registers items for the coroutines of one event loop."""

    def __init__(self, database: Database, health: StoreHealth | None = None) -> None:
        self._database = database
        self._health = health or StoreHealth()
        bounds = Bounds(WRITE_QUEUE_GROUP_ITEMS, WRITE_QUEUE_GROUP_BYTES)
        self._coalescer = Coalescer[Registration, int](
            "intake", self._store, bounds, _not_confirmed
        )

    async def register(
        self,
        item: NewItem,
        key: Key | None = None,
        api_key_id: int | None = None,
        origin: Origin = UNKNOWN,
        refused: BatchlineError | None = None,
    ) -> int:
        """Store one item and return its id. If the key is known, return its item's `KnownId`.

        Args:
            refused: raise this error unless the key is known. Nothing is stored.

        Raises:
            IdempotencyKeyReused: the key was used with other data.
            ShuttingDown: the queue is closing. Nothing was stored.
            IntakeFull: the queue is full. Nothing was stored.
            CommitUnknown: the item may have been stored.
            DatabaseUnavailable: nothing was stored.
        """
        if self._coalescer.closing:
            raise ShuttingDown("the write queue is closed", hint="send the request again")
        if self._is_full():
            waiting = f"{self._coalescer.count} items with {self._coalescer.bytes} bytes"
            raise IntakeFull(
                f"the write queue is full: {waiting} are waiting to be stored",
                hint="send the request again in a moment",
            )
        stored = None if key is None else key.owned_by(api_key_id)
        registration = Registration(item, stored, api_key_id, origin, refused)
        return await self._coalescer.submit(registration, len(item.data))

    async def close(self) -> None:
        """Store the queued items, then end the thread."""
        await self._coalescer.close()

    def _is_full(self) -> bool:
        queue = self._coalescer
        return queue.count >= WRITE_QUEUE_MAX_ITEMS or queue.bytes >= WRITE_QUEUE_MAX_BYTES

    def _store(self, group: list[Registration]) -> Sequence[Registered]:
        new = NewItems(
            data=[each.item.data for each in group],
            models=[each.item.model for each in group],
            custom_ids=[each.item.custom_id for each in group],
            keys=[each.key for each in group],
            api_key_ids=[each.api_key_id for each in group],
            request_ids=[each.origin.request_id for each in group],
            traceparents=[each.origin.traceparent for each in group],
            refused={place: each.refused for place, each in enumerate(group) if each.refused},
        )
        with self._health.watching():
            return self._database.transaction(lambda c: idempotency.register(c, new))


def _not_confirmed() -> CommitUnknown:
    return CommitUnknown(
        f"the database did not confirm the COMMIT within {REQUEST_TIMEOUT} s",
        hint="check the database server's load and disk",
    )
