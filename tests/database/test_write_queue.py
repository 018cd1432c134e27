"""The limits of the write queue: it rejects excess items, and stores every accepted item."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, cast

import pytest
from sqlalchemy import Connection

from batchline.api.requests import NewItem
from batchline.api.write_queue import WriteQueue
from batchline.constants import DEFAULT_MODEL
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import Key
from batchline.errors import IntakeFull, ShuttingDown

pytestmark = pytest.mark.every_server

T = TypeVar("T")

ROW = "[[5.1, 3.5, 1.4, 0.2]]"
ITEM = NewItem(DEFAULT_MODEL, ROW)


class Slow:
    """A database whose transactions begin only when they are let through."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.entered = threading.Event()
        self.opened = threading.Event()

    def transaction(self, work: Callable[[Connection], T]) -> T:
        self.entered.set()
        assert self.opened.wait(30)
        return self._database.transaction(work)


@pytest.mark.parametrize(
    ("limit", "value"), [("WRITE_QUEUE_MAX_ITEMS", 3), ("WRITE_QUEUE_MAX_BYTES", 3 * len(ROW))]
)
def test_a_full_intake_refuses_at_once_and_stores_what_it_took(
    limit: str, value: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"batchline.api.write_queue.{limit}", value)
    slow = Slow(database)

    async def fill_and_open() -> list[int | BaseException]:
        intake = WriteQueue(cast(Database, slow))
        taken = [asyncio.create_task(intake.register(ITEM)) for _ in range(10)]
        while not any(task.done() for task in taken):
            await asyncio.sleep(0)
        slow.opened.set()
        answers = await asyncio.gather(*taken, return_exceptions=True)
        answers.append(await intake.register(ITEM))
        await intake.close()
        return answers

    answers = asyncio.run(fill_and_open())
    stored = [answer for answer in answers if isinstance(answer, int)]
    refused = [answer for answer in answers if not isinstance(answer, int)]
    assert len(stored) >= 4
    assert refused
    assert {type(answer) for answer in refused} == {IntakeFull}
    with database.read() as connection:
        assert all(items.get(connection, item_id) for item_id in stored)


def test_what_nobody_waits_for_any_more_is_not_stored_and_does_not_delay_the_end(
    database: Database,
) -> None:
    slow = Slow(database)

    async def hang_up_and_close() -> int:
        intake = WriteQueue(cast(Database, slow))
        writing = asyncio.create_task(intake.register(ITEM))
        while not slow.entered.is_set():
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(intake.register(ITEM)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        slow.opened.set()
        await intake.close()
        return await writing

    first = asyncio.run(hang_up_and_close())
    with database.read() as connection:
        assert [record.id for record in items.list_page(connection, limit=9).items] == [first]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_queue_that_is_closing_says_so(database: Database) -> None:
    async def close_and_register() -> None:
        intake = WriteQueue(database)
        await intake.close()
        await intake.register(ITEM)

    with pytest.raises(ShuttingDown):
        asyncio.run(close_and_register())


def test_one_transaction_stores_the_items_of_different_keys(database: Database) -> None:
    ids = [None, 1, None, 2, 1] * 50

    async def register_all() -> list[int]:
        queue = WriteQueue(database)
        stored = await asyncio.gather(
            *(
                queue.register(NewItem(DEFAULT_MODEL, f"[[{place}]]"), Key("a", f"{of}"), of)
                for place, of in enumerate(ids)
            )
        )
        await queue.close()
        return stored

    stored = asyncio.run(register_all())
    assert len(set(stored)) == 3
    with database.read() as connection:
        found = dict(map(tuple, connection.exec_driver_sql("SELECT id, key_id FROM items")))
    assert [found[item_id] for item_id in stored] == ids
