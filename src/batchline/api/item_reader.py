"""Many requests share one query.

One thread reads the items that are requested at the same time. Another thread reads large
predictions and results by one version, one by one, so that only one of them is in memory.
"""

from collections.abc import Sequence

from batchline.api.coalescing import Bounds, Coalescer
from batchline.constants import ITEM_READER_GROUP_ITEMS, ITEM_READER_MAX_ITEMS, REQUEST_TIMEOUT
from batchline.db.cruds import items
from batchline.db.cruds.items import StoredItem
from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable, Overloaded, ShuttingDown


class ItemReader:
    """Reads items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups = Coalescer[int, StoredItem | None](
            "lookups", self._read_group, Bounds(ITEM_READER_GROUP_ITEMS, bytes=0), _too_late
        )
        self._singles = Coalescer[tuple[int, int | None], StoredItem | None](
            "single-lookups", self._read_single, Bounds(items=1, bytes=0), _too_late
        )

    async def item(self, item_id: int, version: int | None = None) -> StoredItem | None:
        """Return an item with its result, by this version if given, or None.

        Raises:
            ShuttingDown: the reader is closing.
            Overloaded: too many requests are waiting.
            DatabaseUnavailable: the database does not respond.
        """
        if self._groups.closing:
            raise ShuttingDown("the item reader is closed", hint="send the request again")
        if self._groups.count + self._singles.count >= ITEM_READER_MAX_ITEMS:
            raise Overloaded(
                f"{ITEM_READER_MAX_ITEMS} requests are waiting for an item, which is the limit",
                hint="send the request again in a moment",
            )
        if version is None:
            found = await self._groups.submit(item_id)
            if found is None or not found.is_large:
                return found
        return await self._singles.submit((item_id, version))

    async def close(self) -> None:
        """Read what is queued, and end the threads."""
        await self._groups.close()
        await self._singles.close()

    def _read_group(self, item_ids: list[int]) -> Sequence[StoredItem | None]:
        with self._database.read() as connection:
            found = items.get_many(connection, item_ids)
        return [found.get(item_id) for item_id in item_ids]

    def _read_single(self, asked: list[tuple[int, int | None]]) -> Sequence[StoredItem | None]:
        ((item_id, version),) = asked
        with self._database.read() as connection:
            if version is None:
                return [items.get(connection, item_id)]
            return [items.get_version_result(connection, item_id, version)]


def _too_late() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"the database did not respond within {REQUEST_TIMEOUT} s",
        hint="check the database server's load and disk",
    )
