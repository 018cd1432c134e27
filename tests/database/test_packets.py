"""A server with a low `max_allowed_packet`, to which each quotation mark is sent as two bytes."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from batchline.api.requests import NewItem
from batchline.api.write_queue import WriteQueue
from batchline.constants import DEFAULT_MODEL
from batchline.db import work
from batchline.db.cruds import idempotency, items, versions
from batchline.db.cruds.items import StoredItem
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.dialects import packets
from batchline.db.dialects.types import Json
from batchline.db.dialects.upserts import write_rows
from batchline.db.migrations import upgrade
from batchline.db.new_items import Key, NewItems
from batchline.db.work import Predicted
from batchline.errors import ItemTooLarge, ValueRejected
from batchline.task.hand import Hand
from tests.conftest import Servers, first_of

pytestmark = pytest.mark.every_server

MIB = 1024 * 1024


SERVERS = [f"{kind} {mib}" for mib in (1, 4, 16) for kind in ("mysql", "mariadb")]


@pytest.fixture(params=first_of(SERVERS))
def small_packets(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Database]:
    """A migrated database of a server whose limit is 1 MiB, or 4 or 16."""
    kind, mib = request.param.split()
    server = servers.get(kind)
    [(before,)] = server.execute("SELECT @@GLOBAL.max_allowed_packet")
    server.execute(f"SET GLOBAL max_allowed_packet = {int(mib) * MIB}")
    url = server.create_database()
    with closing(Database(url)) as database:
        upgrade(database)
        yield database
    server.execute(f"SET GLOBAL max_allowed_packet = {before}")
    server.drop_database(url)


def limit(database: Database) -> int:
    with database.read() as connection:
        return packets.max_packet(connection) or 0


def get(database: Database, item_id: int) -> StoredItem:
    with database.read() as connection:
        found = items.get(connection, item_id)
    assert found is not None
    return found


def quotes(size: int) -> str:
    """A text that takes this number of bytes as it is sent."""
    return '"' * (size // 2)


def test_an_item_that_can_never_fit_is_413_and_its_neighbours_are_stored(
    small_packets: Database,
) -> None:
    packet = limit(small_packets)
    largest = quotes(packet - 2 * packets.HEAD_BYTES)
    texts = ["[[1, 2, 3, 4]]"] * 100 + [quotes(packet), largest] + ["[[1, 2, 3, 4]]"] * 100

    async def register_all() -> list[int | BaseException]:
        queue = WriteQueue(small_packets)
        waiting = [queue.register(NewItem(DEFAULT_MODEL, text)) for text in texts]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        await queue.close()
        return answers

    answers = asyncio.run(register_all())
    error = answers.pop(100)
    assert isinstance(error, ItemTooLarge)
    assert error.status == 413
    assert f"max_allowed_packet is {packet}" in error.detail
    assert len(set(answers)) == 201
    large = answers[100]
    assert isinstance(large, int)
    with small_packets.read() as connection:
        query = f"SELECT data FROM items WHERE id = {large}"
        assert connection.exec_driver_sql(query).scalar_one() == largest


def test_a_group_of_items_and_keys_larger_than_a_packet_is_stored(small_packets: Database) -> None:
    data = [quotes(limit(small_packets) // 4)] * 9
    keys = [Key(f"{number:064}", "a" * 64) for number in range(9)]
    new = NewItems(data, keys=keys)
    ids = small_packets.transaction(lambda c: idempotency.register(c, new))
    assert ids == [*range(1, 10)]
    assert small_packets.transaction(lambda c: idempotency.register(c, new)) == ids


def test_a_prediction_that_can_never_fit_fails_and_its_neighbours_are_stored(
    small_packets: Database,
) -> None:
    packet = limit(small_packets)
    small_packets.transaction(lambda c: items.register(c, NewItems(["[]"] * 3)))
    claim = Hand(small_packets, "me").claim_pending(lambda lane: 9)
    assert claim is not None
    texts = {1: "1", 2: quotes(packet), 3: quotes(packet - 2 * packets.HEAD_BYTES)}
    results = VersionResults(1, texts, {}, {3: "a"})
    predicted = Predicted(ModelItems(DEFAULT_MODEL, dict.fromkeys(texts, "[]")), results)
    work.store(small_packets, claim, [predicted], None)
    first, second, third = (get(small_packets, item_id) for item_id in texts)
    assert (first.prediction, third.prediction) == (texts[1], texts[3])
    assert (second.status, second.code) == ("failed", "prediction_too_large")
    assert f"max_allowed_packet is {packet}" in str(second.detail)


def test_a_model_file_of_bytes_that_double_is_stored(small_packets: Database) -> None:
    content = b"'" * (2 * MIB)
    small_packets.transaction(lambda c: versions.store_file(c, "a" * 64, content))
    with small_packets.read() as connection:
        assert versions.read_file(connection, "a" * 64) == content


def test_rows_of_a_table_of_predictions_are_written(small_packets: Database) -> None:
    table = Table("mine", MetaData(), Column("id", Integer), Column("text", Json))
    table.create(small_packets.engine)
    text = quotes(limit(small_packets) // 3)
    given = [(number, text) for number in range(7)]
    small_packets.transaction(lambda c: write_rows(c, table, given, None))
    with small_packets.read() as connection:
        query = f"SELECT count(*) FROM mine WHERE length(text) = {len(text)}"
        assert connection.exec_driver_sql(query).scalar_one() == 7
    too_large = [(8, quotes(limit(small_packets)))]
    with pytest.raises(ValueRejected, match="max_allowed_packet leaves"):
        small_packets.transaction(lambda c: write_rows(c, table, too_large, None))
