"""The use of the model by a process at the moment, in memory that outlives the process."""

import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchline.scoring.suspects import Call

SLOT = struct.Struct("=5qd")
"""Part, block, first, rows, number of completed calls, time of the beginning or 0."""
LOADING, FIRST_SLOT = 0, 8
"""The place of the byte that is 1 while the model is loaded, and the place of the first slot."""


class CallBoard:
    """A place for each thread of a child process, which its parent can read.

    Writing it takes a microsecond, and there is nothing to read until something goes wrong.

    Args:
        memory: shared with a process that has started already. None: children share new memory.
    """

    def __init__(self, threads: int, memory: mmap.mmap | None = None) -> None:
        end = FIRST_SLOT + threads * SLOT.size
        self._memory = memory or mmap.mmap(-1, end)
        self._slots = range(FIRST_SLOT, end, SLOT.size)
        self._own = threading.local()
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Show that this process loads the model."""
        self._memory[LOADING] = 1
        try:
            yield
        finally:
            self._memory[LOADING] = 0

    @property
    def is_loading(self) -> bool:
        """Whether the process loads the model, or ended meanwhile."""
        return bool(self._memory[LOADING])

    @contextmanager
    def showing(self, call: Call) -> Iterator[None]:
        """Show that this thread makes a call."""
        slot = self._slot()
        done = SLOT.unpack_from(self._memory, slot)[4]
        values = call.part, call.block, call.first, call.rows
        SLOT.pack_into(self._memory, slot, *values, done, time.monotonic())
        try:
            yield
        finally:
            SLOT.pack_into(self._memory, slot, *values, done + 1, 0.0)

    def _slot(self) -> int:
        slot: int | None = getattr(self._own, "slot", None)
        if slot is None:
            with self._lock:
                slot = self._own.slot = self._slots[self._taken]
                self._taken += 1
        return slot

    def in_progress(self, seconds: float = 0.0) -> list[Call]:
        """Return the calls that began at least so many seconds ago and have not returned."""
        latest = time.monotonic() - seconds
        slots = [SLOT.unpack_from(self._memory, slot) for slot in self._slots]
        return [Call(*values[:4]) for values in slots if 0 < values[5] <= latest]

    @property
    def completed(self) -> int:
        """How many calls returned."""
        return sum(SLOT.unpack_from(self._memory, slot)[4] for slot in self._slots)

    def clear(self) -> None:
        """Forget what a process did that ended."""
        self._memory[LOADING] = 0
        for slot in self._slots:
            *values, _ = SLOT.unpack_from(self._memory, slot)
            SLOT.pack_into(self._memory, slot, *values, 0.0)
