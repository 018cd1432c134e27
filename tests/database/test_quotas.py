"""Items per UTC day: exact in one process, and counted over all processes once a second."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from batchline.access_errors import QuotaExceeded
from batchline.api.quotas import Owner, Quotas
from batchline.api_keys import Role
from batchline.db.cruds import keys, usage
from batchline.db.cruds.keys import ApiKey
from batchline.db.database import Database

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class Day:
    """The time of day, which the test moves."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


def key_with(database: Database, items_per_day: int) -> ApiKey:
    sha256 = f"{items_per_day:064}"
    database.transaction(
        lambda c: keys.create(c, "shop", Role.WRITE, sha256, items_per_day=items_per_day)
    )
    with database.read() as connection:
        return keys.read(connection)[0]


def used(database: Database, day: datetime = NOON) -> int:
    with database.read() as connection:
        return sum(usage.of_day(connection, day.date()).values())


def run(database: Database, test: Callable[[list[Quotas], Day], Awaitable[None]]) -> None:
    """Run a test with the quotas of two processes, and save their counts at the end."""

    async def with_quotas() -> None:
        day = Day()
        with ThreadPoolExecutor(1) as thread:
            both = [Quotas(database, thread, now=day) for _ in range(2)]
            await test(both, day)
            for each in both:
                await each.close()

    asyncio.run(with_quotas())


@SQLITE
def test_a_key_gets_exactly_its_items_and_new_ones_on_the_next_day(database: Database) -> None:
    key = key_with(database, 10)

    async def test(both: list[Quotas], day: Day) -> None:
        quotas, _ = both
        assert [quotas.take(key, 4) for _ in range(4)] == [4, 4, 2, 0]
        with pytest.raises(QuotaExceeded) as refused:
            quotas.admit(key, registers=True)
        assert refused.value.headers["Retry-After"] == str(12 * 3600)
        quotas.admit(key, registers=False)
        quotas.give_back(key, 3, day.now.date())
        assert quotas.take(key, 4) == 3
        day.now += timedelta(hours=12)
        assert quotas.take(key, 7) == 7

    run(database, test)
    assert (used(database), used(database, NOON + timedelta(days=1))) == (10, 7)


@SQLITE
def test_what_is_not_stored_after_midnight_is_given_back_to_the_day_before(
    database: Database,
) -> None:
    key = key_with(database, 10)

    async def test(both: list[Quotas], day: Day) -> None:
        async def find(_: str) -> ApiKey:
            return key

        quotas, _ = both
        upload = Owner(key, quotas, find)
        assert upload.take(9) == 9
        day.now += timedelta(hours=12)
        upload.give_back(8)
        assert quotas.take(key, 99) == 10

    run(database, test)
    assert (used(database), used(database, NOON + timedelta(days=1))) == (1, 10)


def test_the_counts_of_all_processes_add_up(database: Database) -> None:
    key = key_with(database, 10)

    async def test(both: list[Quotas], day: Day) -> None:
        one, other = both
        assert (one.take(key, 3), other.take(key, 4)) == (3, 4)
        await asyncio.gather(one._save(), other._save())
        await asyncio.gather(one._save(), other._save())
        assert other.take(key, 1) == 1
        await other._save()
        one.take(key, 1)
        await one._save()  # learns what the other one has counted
        assert one.take(key, 9) == 1

    run(database, test)
    assert used(database) == 10


@SQLITE
def test_what_cannot_be_saved_is_saved_later(database: Database) -> None:
    key = key_with(database, 10)

    async def test(both: list[Quotas], day: Day) -> None:
        quotas, _ = both
        quotas.take(key, 6)
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE key_usage RENAME TO away")
        await quotas._save()
        assert quotas.take(key, 9) == 4  # it knows what it has counted
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO key_usage")

    run(database, test)
    assert used(database) == 10


@SQLITE
def test_the_use_of_a_key_is_taken_down(database: Database) -> None:
    key = key_with(database, 10)

    async def test(both: list[Quotas], day: Day) -> None:
        both[0].admit(key, registers=False)

    run(database, test)
    with database.read() as connection:
        assert keys.read(connection)[0].last_used_at is not None
    assert used(database) == 0
