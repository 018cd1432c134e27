"""One thread serves the requests of many coroutines, one group at a time.

A single request does not wait for others: the thread takes all queued requests as one group. The
requests that arrive while it works form the next group. Submitting a request takes no lock. Only
the event loop uses the state, except for the deque and the event.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from batchline.constants import REQUEST_TIMEOUT, REQUEST_TIMEOUT_INTERVAL

A = TypeVar("A")


B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one group. A request larger than `bytes` is a group by itself."""

    items: int
    bytes: int


@dataclass(slots=True)
class _Pending(Generic[A, B]):
    asked: A
    size: int
    until: float
    answer: asyncio.Future[B]


class Coalescer(Generic[A, B]):
    """Serves the coroutines of one event loop.

    Args:
        name: the name of the thread.
        serve: returns a result or an error for each request of a group. The thread calls it.
        too_late: returns the error for a request that has waited for `REQUEST_TIMEOUT` seconds.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[A]], Sequence[B | Exception]],
        bounds: Bounds,
        too_late: Callable[[], Exception],
    ) -> None:
        self.count = 0
        self.bytes = 0
        self._serve = serve
        self._bounds = bounds
        self._too_late = too_late
        self._waiting: deque[_Pending[A, B]] = deque()
        self._unanswered: deque[_Pending[A, B]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(
            REQUEST_TIMEOUT_INTERVAL, self._give_up_on_the_oldest
        )
        self._thread = threading.Thread(target=self._serve_groups, name=name, daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        return self._closing

    def submit(self, asked: A, size: int = 0) -> asyncio.Future[B]:
        """Queue a request of `size` bytes and return its future result."""
        until = self._loop.time() + REQUEST_TIMEOUT
        waiting: _Pending[A, B] = _Pending(asked, size, until, self._loop.create_future())
        self.count += 1
        self.bytes += size
        self._unanswered.append(waiting)
        self._waiting.append(waiting)
        if not self._wake.is_set():
            self._wake.set()
        return waiting.answer

    async def close(self) -> None:
        """Serve the queued requests, then end the thread."""
        self._closing = True
        self._patience.cancel()
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _serve_groups(self) -> None:
        while group := self._next_group():
            wanted = [waiting for waiting in group if not waiting.answer.done()]
            answers = self._answers([waiting.asked for waiting in wanted]) if wanted else []
            self._loop.call_soon_threadsafe(self._end, group, wanted, answers)

    def _answers(self, asked: list[A]) -> Sequence[B | Exception]:
        try:
            return self._serve(asked)
        except Exception as error:  # each request is answered with it
            return [error] * len(asked)

    def _next_group(self) -> list[_Pending[A, B]]:
        """Wait for requests, and return them up to the bounds. When closing, return []."""
        while not self._waiting and not self._closing:
            self._wake.wait()
            self._wake.clear()  # before checking again, so that a later request sets it
        group: list[_Pending[A, B]] = []
        size = 0
        while self._waiting and len(group) < self._bounds.items:
            size += self._waiting[0].size
            if group and size > self._bounds.bytes:
                break
            group.append(self._waiting.popleft())
        return group

    def _end(
        self,
        group: list[_Pending[A, B]],
        wanted: list[_Pending[A, B]],
        answers: Sequence[B | Exception],
    ) -> None:
        self._forget(group)  # first, so that a client can send its next request after a response
        self._answer(wanted, answers)

    def _answer(self, group: list[_Pending[A, B]], answers: Sequence[B | Exception]) -> None:
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.answer.done():  # it waited too long, or its client disconnected
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)

    def _forget(self, group: list[_Pending[A, B]]) -> None:
        for waiting in group:
            self._unanswered.popleft()  # groups are served in the order of their requests
            self.count -= 1
            self.bytes -= waiting.size

    def _give_up_on_the_oldest(self) -> None:
        """Time out the oldest requests, at intervals. A timer for each request would cost more."""
        now = self._loop.time()
        for waiting in self._unanswered:
            if waiting.until > now:
                break
            if not waiting.answer.done():
                waiting.answer.set_exception(self._too_late())
        self._patience = self._loop.call_later(
            REQUEST_TIMEOUT_INTERVAL, self._give_up_on_the_oldest
        )
