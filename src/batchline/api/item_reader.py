"""Many requests, one query.

Items that are asked for at the same time are read together, by one thread. Large predictions are
not: those are read one by one, so that a group stays small in memory.
"""

import asyncio

from batchline.api.coalescing import Bounds, Coalescer
from batchline.constants import LOOKUP_GROUP_ITEMS, LOOKUPS_MAX_ITEMS, REQUEST_TIMEOUT
from batchline.db.cruds import items
from batchline.db.cruds.items import StoredItem
from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable, Overloaded


class ItemReader:
    """Reads items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        bounds = Bounds(LOOKUP_GROUP_ITEMS, bytes=0)
        self._coalescer = Coalescer[int, StoredItem | None](
            "lookups", self._read_all, bounds, _not_answered
        )

    async def item(self, item_id: int, version: int | None = None) -> StoredItem | None:
        """An item with what became of it, or None; the answer of this version, if given.

        Raises:
            Overloaded: too many wait for theirs already.
            DatabaseUnavailable: the database does not answer.
        """
        if self._coalescer.closing or self._coalescer.count >= LOOKUPS_MAX_ITEMS:
            raise Overloaded("too many items are being read", hint="ask again in a moment")
        if version is not None:  # rarely, so one by one
            return await asyncio.to_thread(self._read_answer, item_id, version)
        record = await self._coalescer.submit(item_id)
        if record is not None and record.is_large:
            return await asyncio.to_thread(self._read_one, item_id)
        return record

    async def close(self) -> None:
        """Read what waits, and end the reader."""
        await self._coalescer.close()

    def _read_all(self, item_ids: list[int]) -> list[StoredItem | None]:
        with self._database.read() as connection:
            found = items.get_many(connection, item_ids)
        return [found.get(item_id) for item_id in item_ids]

    def _read_one(self, item_id: int) -> StoredItem | None:
        with self._database.read() as connection:
            return items.get(connection, item_id)

    def _read_answer(self, item_id: int, version: int) -> StoredItem | None:
        with self._database.read() as connection:
            return items.get_version_result(connection, item_id, version)


def _not_answered() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"the database has not answered for {REQUEST_TIMEOUT} seconds", hint="is it hanging?"
    )
