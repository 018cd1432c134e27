"""Reads of one version count and end like any other read."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from sqlalchemy import Connection

from batchline.api.item_reader import ItemReader
from batchline.db.cruds import items
from batchline.db.cruds.items import StoredItem
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import DatabaseUnavailable, Overloaded, ShuttingDown

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class Slow:
    """A database that is read only once it is opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.opened = threading.Event()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        assert self.opened.wait(30)
        with self._database.read() as connection:
            yield connection


@pytest.mark.parametrize("version", [None, 1])
def test_reads_of_a_version_count_towards_the_limit(
    version: int | None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.api.item_reader.ITEM_READER_MAX_ITEMS", 4)
    slow = Slow(database)

    async def fill_and_open() -> list[StoredItem | BaseException | None]:
        reader = ItemReader(cast(Database, slow))
        waiting = [asyncio.create_task(reader.item(1, n % 2 or None)) for n in range(4)]
        await asyncio.sleep(0)
        try:
            with pytest.raises(Overloaded):
                await asyncio.wait_for(reader.item(1, version), 5)
        finally:
            slow.opened.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert await reader.item(1, version) is None
        await reader.close()
        return answers

    assert asyncio.run(fill_and_open()) == [None] * 4


def test_a_read_of_a_version_has_a_time_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.api.coalescing.REQUEST_TIMEOUT", 0)
    monkeypatch.setattr("batchline.api.coalescing.REQUEST_TIMEOUT_INTERVAL", 0.001)
    slow = Slow(database)

    async def read() -> None:
        reader = ItemReader(cast(Database, slow))
        try:
            with pytest.raises(DatabaseUnavailable):
                await asyncio.wait_for(reader.item(1, 1), 5)
        finally:
            slow.opened.set()
        await reader.close()

    asyncio.run(read())


@pytest.mark.parametrize("version", [None, 1])
def test_a_reader_that_is_closing_says_so(version: int | None, database: Database) -> None:
    async def close_and_read() -> None:
        reader = ItemReader(database)
        await reader.close()
        await reader.item(1, version)

    with pytest.raises(ShuttingDown):
        asyncio.run(close_and_read())


def test_a_version_of_an_item_is_read(database: Database) -> None:
    with database.write() as connection:
        (item_id,) = items.register(connection, NewItems(["[[1, 2, 3, 4]]"]))

    async def read() -> tuple[StoredItem | None, StoredItem | None]:
        reader = ItemReader(database)
        found = await reader.item(item_id), await reader.item(item_id, 1)
        await reader.close()
        return found

    found, of_version = asyncio.run(read())
    assert found is not None
    assert found.id == item_id
    assert of_version is None  # no version has a result for it
