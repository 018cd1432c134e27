"""Many requests share one query.

One thread reads the items that are requested at the same time. Large predictions are read one by
one, so that a group stays small in memory.
"""

import asyncio

from batchline.api.coalescing import Bounds, Coalescer
from batchline.constants import ITEM_READER_GROUP_ITEMS, ITEM_READER_MAX_ITEMS, REQUEST_TIMEOUT
from batchline.db.cruds import items
from batchline.db.cruds.items import StoredItem
from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable, Overloaded


class ItemReader:
    """Reads items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        bounds = Bounds(ITEM_READER_GROUP_ITEMS, bytes=0)
        self._coalescer = Coalescer[int, StoredItem | None](
            "lookups", self._read_all, bounds, _not_answered
        )

    async def item(self, item_id: int, version: int | None = None) -> StoredItem | None:
        """Return an item with its result, by this version if given, or None.

        Raises:
            Overloaded: too many requests are waiting.
            DatabaseUnavailable: the database does not respond.
        """
        if self._coalescer.closing or self._coalescer.count >= ITEM_READER_MAX_ITEMS:
            raise Overloaded(
                f"more than {ITEM_READER_MAX_ITEMS} requests are waiting for an item",
                hint="send the request again in a moment",
            )
        if version is not None:  # rare, so one by one
            return await asyncio.to_thread(self._read_answer, item_id, version)
        record = await self._coalescer.submit(item_id)
        if record is not None and record.is_large:
            return await asyncio.to_thread(self._read_one, item_id)
        return record

    async def close(self) -> None:
        """Read what is queued, and end the thread."""
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
        f"the database did not respond within {REQUEST_TIMEOUT} s",
        hint="check the database server's load and disk",
    )
