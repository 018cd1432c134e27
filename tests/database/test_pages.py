"""The pages of every filter, joined, are the items of that filter in order, while others insert."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, text

from batchline.constants import Status
from batchline.db.cruds import items
from batchline.db.cruds.pages import Filters
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.models import failures, results
from batchline.db.models import items as items_table
from batchline.errors import UnknownCursor
from tests.conftest import KINDS, Servers, new_database

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, FEW_ROWS = 300, 80
CODES = ("invalid_data", "model_error")
Row = Any


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def random_row(dice: random.Random) -> dict[str, Any]:
    return {
        "data": "[]",
        "status": dice.choice(list(Status)),
        "lane": dice.choice([0, 0, 1, 1, -5, 7, 32767, dice.randrange(100, 300)]),
        "model": dice.choice(["default", "other", "OTHER", "other "]),
        "custom_id": dice.choice([None, "a", "A", "b", "c ", "c"]),
        "created_at": at(dice.randrange(20) / 2),
    }


def insert_rows(connection: Connection, dice: random.Random, count: int) -> None:
    connection.execute(insert(items_table), [random_row(dice) for _ in range(count)])


def fill(database: Database, count: int) -> None:
    dice = random.Random(1)
    with database.write() as connection:
        insert_rows(connection, dice, count)
        failed = select(items_table.c.id).where(items_table.c.status != Status.PENDING)
        ids = connection.execute(failed).scalars().all()
        of_versions = [(item_id, n) for item_id in ids for n in dice.sample([0, 1, 2], 2)]
        connection.execute(
            insert(failures),
            [
                {"item_id": item_id, "model_id": n, "code": dice.choice(CODES), "detail": "x"}
                for item_id, n in of_versions
            ],
        )


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("pages")
    with new_database(request.param, servers, folder) as url, closing(Database(url)) as database:
        upgrade(database)
        fill(database, ROWS if request.config.getoption("--long") else FEW_ROWS)
        yield database


@pytest.fixture
def filled(shared: Database, long: bool) -> Iterator[Database]:
    """A database with items, from which those are removed that a test has added."""
    last = ROWS if long else FEW_ROWS
    yield shared
    with shared.write() as connection:
        connection.execute(delete(items_table).where(items_table.c.id > last))


CASES: dict[str, tuple[Filters, Callable[[Row], bool]]] = {
    "all": (Filters(), lambda row: True),
    **{
        status: (Filters(status=status), lambda row, status=status: row.status == status)
        for status in Status
    },
    "a model": (Filters(model="other"), lambda row: row.model == "other"),
    "a model that nothing has": (Filters(model="x"), lambda row: False),
    "own ids": (Filters(custom_ids=["a", "c", "a"]), lambda row: row.custom_id in ("a", "c")),
    "a code": (Filters(code=CODES[0]), lambda row: row.error_code == CODES[0]),
    "after": (Filters(created_after=at(3)), lambda row: row.created_at > at(3)),
    "before": (Filters(created_before=at(3.5)), lambda row: row.created_at < at(3.5)),
    "between": (
        Filters(created_after=at(2.5), created_before=at(7)),
        lambda row: at(2.5) < row.created_at < at(7),
    ),
}


by_id, by_time = attrgetter("id"), attrgetter("created_at", "id")


def all_rows(database: Database) -> Sequence[Row]:
    with database.read() as connection:
        return connection.execute(select(results).order_by(results.c.id)).all()


def pages(database: Database, filters: Filters, limit: int) -> Iterator[list[int]]:
    after, more = None, True
    while more:
        with database.read() as connection:
            page = items.list_page(connection, filters, after=after, limit=limit)
        yield [item.id for item in page.items]
        after, more = page.last_id, page.has_more


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost_or_doubled(filled: Database, name: str, descending: bool) -> None:
    filters, fits = CASES[name]
    filters = replace(filters, descending=descending)
    before = all_rows(filled)
    known = {row.id for row in before}
    fitting = sorted(filter(fits, before), key=by_time if filters.by_time else by_id)
    expected = [row.id for row in fitting]
    if descending:
        expected.reverse()
    dice = random.Random(2)
    for limit in (1, 7, 100, 1000):
        found: list[int] = []
        for page in pages(filled, filters, limit):
            assert len(page) <= limit
            found += page
            if limit == 7:
                with filled.write() as connection:
                    insert_rows(connection, dice, 1)
        assert [item_id for item_id in found if item_id in known] == expected
        assert len(found) == len(set(found))


def test_an_item_of_the_cursor_that_is_gone_is_named(database: Database) -> None:
    fill(database, 9)
    with database.write() as connection:
        connection.execute(text("DELETE FROM items WHERE id = 5"))
    with database.read() as connection:
        assert items.list_page(connection, after=5, limit=1).items[0].id == 6
        with pytest.raises(UnknownCursor, match="id 5"):
            items.list_page(connection, Filters(created_after=BEGIN), after=5, limit=1)
