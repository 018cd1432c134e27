"""Many tasks share one timer, and each has its own deadline."""

import asyncio

import pytest

from batchline.api.deadlines import Deadlines


async def never() -> None:
    await asyncio.Event().wait()


def test_a_task_that_takes_too_long_gets_a_timeout() -> None:
    async def run() -> None:
        with Deadlines(0.01):
            await never()

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_each_of_several_tasks_gets_its_timeout() -> None:
    deadlines = Deadlines(0.01)
    ended = []

    async def wait(name: str) -> None:
        try:
            with deadlines:
                await never()
        except TimeoutError:
            ended.append(name)

    async def run() -> None:
        first = asyncio.create_task(wait("first"))
        await asyncio.sleep(0.005)  # so that the timer must be set again for the second
        await asyncio.gather(first, wait("second"))
        await wait("third")

    asyncio.run(run())
    assert ended == ["first", "second", "third"]


def test_a_task_that_ends_in_time_is_not_cancelled_afterwards() -> None:
    deadlines = Deadlines(0.2)

    async def run() -> bool:
        with deadlines:
            await asyncio.sleep(0)
        await asyncio.sleep(0.25)  # the timer expires meanwhile
        return True

    assert asyncio.run(run())


def test_a_task_that_was_cancelled_by_somebody_else_is_cancelled() -> None:
    async def wait() -> None:
        with Deadlines(60):
            await never()

    async def run() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())


def test_another_error_keeps_its_kind() -> None:
    async def run() -> None:
        with Deadlines(60):
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        asyncio.run(run())
