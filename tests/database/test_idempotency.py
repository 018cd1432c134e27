"""Clients that send the same keys at the same moment, in any order, get the same ids."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import Connection

from batchline.constants import UPLOAD_GROUP_LINES, UPLOAD_LANE
from batchline.db.cruds import idempotency
from batchline.db.cruds.idempotency import KnownId, Registered
from batchline.db.database import Database
from batchline.db.models import items
from batchline.db.new_items import Key, NewItems
from tests.database.test_interleavings import after_first, in_a_thread

pytestmark = pytest.mark.every_server

CLIENTS = 3
KEYS = 1_200  # more than one statement has
UNSET = {"id", "status", "created_at", "retried_at", "batch_id"}
"""The columns of a new item that have their defaults."""


def new_items(keys: list[int]) -> NewItems:
    data = [f"[[{key}]]" for key in keys]
    return NewItems(data, keys=[Key(f"key-{key}", f"data-{key}") for key in keys])


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_the_same_keys_at_once_in_any_order_get_the_same_ids(database: Database) -> None:
    together = Barrier(CLIENTS)

    def send(seed: int) -> list[dict[int, Registered]]:
        dice, answers = random.Random(seed), []
        for start in range(0, 3 * KEYS, KEYS):
            keys = list(range(start, start + KEYS))
            dice.shuffle(keys)
            new = new_items(keys)
            together.wait(30)
            ids = database.transaction(lambda c, new=new: idempotency.register(c, new))
            answers.append(dict(zip(keys, ids, strict=True)))
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        first, *others = pool.map(send, range(CLIENTS))
    assert all(other == first for other in others)
    assert len({item_id for answer in first for item_id in answer.values()}) == 3 * KEYS
    assert count(database, "items") == count(database, "idempotency_keys") == 3 * KEYS
    of_all = [
        item_id for each in (first, *others) for answer in each for item_id in answer.values()
    ]
    assert sum(not isinstance(item_id, KnownId) for item_id in of_all) == 3 * KEYS


@pytest.mark.parametrize("database_kind", ["mysql", "mariadb", "postgresql"], indirect=True)
def test_whoever_loses_a_key_again_and_again_gets_the_winners_ids_at_once(
    database: Database,
) -> None:
    """After each look at the keys, somebody else stores one of them."""
    keys = list(range(10))
    won: dict[int, Registered] = {}

    def win() -> None:
        key = keys[len(won)]
        new = new_items([key])
        (won[key],) = database.transaction(lambda c: idempotency.register(c, new))

    def register_after_a_loss(connection: Connection) -> Sequence[Registered]:
        with after_first(database, "from idempotency_keys", lambda: in_a_thread(win).join()):
            return idempotency.register(connection, new_items(keys))

    ids = dict(zip(keys, database.transaction(register_after_a_loss), strict=True))
    assert won == {0: ids[0]}
    assert len(set(ids.values())) == len(keys)
    assert count(database, "items") == len(keys)


def test_the_largest_group_of_an_upload_is_stored_with_a_value_in_every_column(
    database: Database,
) -> None:
    count = UPLOAD_GROUP_LINES
    new = replace(
        new_items(list(range(count))),
        models=["other"] * count,
        custom_ids=[f"line {number}" for number in range(count)],
        api_key_ids=[7] * count,
        request_ids=["r1"] * count,
        traceparents=["00-" + "1" * 32 + "-" + "2" * 16 + "-01"] * count,
        lane=UPLOAD_LANE,
    )
    assert set(new.columns()) == {column.name for column in items.c if column.name not in UNSET}
    ids = database.transaction(lambda c: idempotency.register(c, new))
    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT id, data FROM items ORDER BY id").all()
    assert [tuple(row) for row in found] == list(zip(ids, new.data, strict=True))
