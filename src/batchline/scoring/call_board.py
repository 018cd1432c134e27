"""The calls of the model that are in progress, in memory that outlives the process."""

import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchline.scoring.suspects import Call

SLOT = struct.Struct("=5qd")
"""Part, block, first, rows, number of completed calls, time of the beginning or 0."""


class CallBoard:
    """A place for each thread of a child process, which its parent can read.

    Writing it takes a microsecond, and there is nothing to read until something goes wrong.

    Args:
        memory: shared with a process that has started already. None: children share new memory.
    """

    def __init__(self, threads: int, memory: mmap.mmap | None = None) -> None:
        self._memory = memory or mmap.mmap(-1, threads * SLOT.size)
        self._slots = range(0, threads * SLOT.size, SLOT.size)
        self._own = threading.local()
        self._taken = 0
        self._lock = threading.Lock()

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
        """Forget the calls of a process that ended."""
        for slot in self._slots:
            *values, _ = SLOT.unpack_from(self._memory, slot)
            SLOT.pack_into(self._memory, slot, *values, 0.0)
