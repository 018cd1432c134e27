"""Time out the tasks of one event loop with one timer for all of them.

`asyncio.timeout` sets a timer for each task, which takes longer than parsing a small body.
"""

import asyncio
from types import TracebackType

Task = asyncio.Task[object]


class Deadlines:
    """A context manager for many tasks at once. Each may spend the same time in the block.

    A task that takes longer gets a TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[Task, float] = {}  # the earliest is first
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        until = loop.time() + self._seconds
        self._until[task] = until
        if self._timer is None:
            self._timer = loop.call_at(until, self._end_overdue, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._until.pop(task, None) is None and task.uncancel() == 0:
            # Otherwise somebody else has cancelled the task as well.
            raise TimeoutError

    def _end_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._until:
            task, until = next(iter(self._until.items()))
            if until > now:
                self._timer = loop.call_at(until, self._end_overdue, loop)
                return
            del self._until[task]
            task.cancel()
        self._timer = None
