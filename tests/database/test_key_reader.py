"""How long a key that was read is believed, and when the keys are read again."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchline import api_keys
from batchline.api.keys import KeyReader
from batchline.api.quotas import Quotas
from batchline.api_keys import Role
from batchline.constants import KEYS_LIFETIME, KEYS_LIFETIME_IN_OUTAGES, UNKNOWN_KEY_INTERVAL
from batchline.db.cruds import keys
from batchline.db.database import Database
from batchline.errors import DatabaseUnavailable

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

KEY = api_keys.digest("bl_shop")
OTHER = api_keys.digest("bl_other")


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reads(Database):
    """A database that counts how often it is read, and may be away."""

    count = 0
    is_away = False

    def read(self):  # type: ignore[no-untyped-def]
        self.count += 1
        if self.is_away:
            raise DatabaseUnavailable("the server has been stopped")
        return super().read()


Test = Callable[[KeyReader, Reads, Clock], Awaitable[None]]


def run(database: Database, test: Test) -> None:
    async def with_reader() -> None:
        reads = Reads(str(database.engine.url))
        clock = Clock()
        with ThreadPoolExecutor(1) as thread:
            reader = KeyReader(reads, thread, Quotas(reads, thread), clock)
            await test(reader, reads, clock)
        reads.close()

    asyncio.run(with_reader())


def create(database: Database, sha256: str, name: str = "shop") -> None:
    database.transaction(lambda c: keys.create(c, name, Role.WRITE, sha256))


def revoke(database: Database) -> None:
    assert database.transaction(lambda c: keys.revoke(c, "shop", "test"))


def test_a_revoked_key_is_no_longer_found_after_its_lifetime(database: Database) -> None:
    create(database, KEY)

    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        found = await reader.find(KEY)
        assert found is not None
        assert found.name == "shop"
        revoke(database)
        clock.now += KEYS_LIFETIME
        assert await reader.find(KEY) is None
        assert await reader.exist()  # it was one

    run(database, test)


def test_many_requests_with_known_keys_share_one_read(database: Database) -> None:
    create(database, KEY)

    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        for _ in range(100):
            await asyncio.gather(*(reader.find(KEY) for _ in range(10)))
        assert reads.count == 1
        clock.now += KEYS_LIFETIME
        await asyncio.gather(*(reader.find(KEY) for _ in range(100)))
        assert reads.count == 2

    run(database, test)


def test_guessing_reads_the_keys_once_a_second_at_most(database: Database) -> None:
    create(database, KEY)

    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        for second in range(1, 4):
            for guess in range(50):
                assert await reader.find(api_keys.digest(f"bl_{guess}")) is None
            assert reads.count == second
            clock.now += UNKNOWN_KEY_INTERVAL

    run(database, test)


def test_a_new_key_is_found_a_second_after_the_last_read(database: Database) -> None:
    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        assert not await reader.exist()
        create(database, KEY)
        clock.now += UNKNOWN_KEY_INTERVAL
        assert await reader.find(KEY) is not None
        assert await reader.exist()

    run(database, test)


def test_while_the_database_is_away_known_keys_go_on_for_five_minutes(database: Database) -> None:
    create(database, KEY)

    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        assert await reader.find(KEY) is not None
        reads.is_away = True
        clock.now += KEYS_LIFETIME
        assert await reader.find(KEY) is not None
        with pytest.raises(DatabaseUnavailable):
            await reader.find(OTHER)
        clock.now += KEYS_LIFETIME_IN_OUTAGES
        with pytest.raises(DatabaseUnavailable):
            await reader.find(KEY)
        assert await reader.exist()
        reads.is_away = False
        revoke(database)
        create(database, OTHER, "other")
        clock.now += KEYS_LIFETIME
        assert await reader.find(KEY) is None
        assert await reader.find(OTHER) is not None

    run(database, test)


def test_keys_that_were_never_read_let_nobody_in(database: Database, tmp_path: Path) -> None:
    async def test(reader: KeyReader, reads: Reads, clock: Clock) -> None:
        reads.is_away = True
        with pytest.raises(DatabaseUnavailable):
            await reader.exist()
        with pytest.raises(DatabaseUnavailable):
            await reader.find(KEY)

    run(database, test)
