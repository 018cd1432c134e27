"""What waits together is served together, each gets its own answer, and bounds hold."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from batchline.api.coalescing import Bounds, Coalescer
from batchline.errors import DatabaseUnavailable

TIMEOUT = 60.0


class Server:
    """Doubles numbers when it is let; a negative one is an error, and a 0 ends its whole group.

    What it was given is in `groups`.
    """

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def serve(self, numbers: list[int]) -> list[int | Exception]:
        self.groups.append(numbers)
        self.begun.set()
        assert self.may_go_on.wait(TIMEOUT)
        if 0 in numbers:
            raise DatabaseUnavailable("away")
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


def asking(
    server: Server, bounds: Bounds, ask: Callable[[Coalescer[int, int]], Coroutine[Any, Any, None]]
) -> None:
    """Run a coroutine beside a group of one, number 1, which is being served."""

    async def run() -> None:
        groups = Coalescer[int, int]("test", server.serve, bounds, TimeoutError)
        first = groups.submit(1)
        await asyncio.to_thread(server.begun.wait, TIMEOUT)
        await ask(groups)
        assert await first == 2
        await groups.close()
        assert (groups.count, groups.bytes) == (0, 0)

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def test_what_waits_while_a_group_is_served_is_the_next_group() -> None:
    server = Server()

    async def ask(groups: Coalescer[int, int]) -> None:
        answers = asyncio.gather(*[groups.submit(number) for number in (2, 3, 4)])
        server.may_go_on.set()
        assert await answers == [4, 6, 8]

    asking(server, Bounds(items=10, bytes=100), ask)
    assert server.groups == [[1], [2, 3, 4]]


def test_a_group_is_bounded_in_number_and_in_bytes_and_what_is_larger_goes_alone() -> None:
    server = Server()

    async def ask(groups: Coalescer[int, int]) -> None:
        sizes = {2: 10, 3: 10, 4: 10, 5: 90, 6: 500, 7: 1}
        answers = asyncio.gather(*[groups.submit(number, size) for number, size in sizes.items()])
        server.may_go_on.set()
        assert await answers == [4, 6, 8, 10, 12, 14]

    asking(server, Bounds(items=2, bytes=100), ask)
    assert server.groups == [[1], [2, 3], [4, 5], [6], [7]]


def test_whoever_hung_up_is_not_served_and_is_no_harm_to_the_others() -> None:
    server = Server()

    async def ask(groups: Coalescer[int, int]) -> None:
        gone, stays, bad = groups.submit(2, 5), groups.submit(3, 5), groups.submit(-4, 5)
        gone.cancel()
        server.may_go_on.set()
        assert await stays == 6
        with pytest.raises(ValueError, match="-4"):
            await bad

    asking(server, Bounds(items=10, bytes=100), ask)
    assert server.groups == [[1], [3, -4]]


def test_an_error_of_the_whole_group_reaches_each_in_it_and_the_next_is_served() -> None:
    server = Server()

    async def ask(groups: Coalescer[int, int]) -> None:
        failing = [groups.submit(2), groups.submit(0)]
        server.may_go_on.set()
        for answer in failing:
            with pytest.raises(DatabaseUnavailable):
                await answer
        assert await groups.submit(4) == 8

    asking(server, Bounds(items=10, bytes=100), ask)


def test_whoever_has_waited_too_long_is_told_so_and_the_group_ends_in_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batchline.api.coalescing.REQUEST_TIMEOUT", 0)
    monkeypatch.setattr("batchline.api.coalescing.REQUEST_TIMEOUT_INTERVAL", 0.001)
    server = Server()

    async def run() -> None:
        groups = Coalescer[int, int]("test", server.serve, Bounds(10, 100), TimeoutError)
        with pytest.raises(TimeoutError):
            await groups.submit(1, 7)
        assert (groups.count, groups.bytes) == (1, 7)  # it is still in memory
        server.may_go_on.set()
        await groups.close()
        assert (groups.count, groups.bytes) == (0, 0)

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def test_what_waits_when_it_is_closed_is_served() -> None:
    server = Server()
    server.may_go_on.set()

    async def run() -> None:
        groups = Coalescer[int, int]("test", server.serve, Bounds(1, 100), TimeoutError)
        answers = [groups.submit(number) for number in range(1, 21)]
        await groups.close()
        assert await asyncio.gather(*answers) == [2 * number for number in range(1, 21)]

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))
