"""A queue for the processes that write to one SQLite file.

SQLite knows none: whoever waits for the write lock asks for it again after up to 100 ms, and a job
that stores one batch after the other is there first every time. Here only one process asks at a
time, and whoever comes meanwhile has to wait until it has been let in.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchline.constants import TURNSTILE_INTERVAL, TURNSTILE_PATIENCE


class SqliteWriteQueue:
    """One for each process and file; its threads come one at a time.

    The lock is on the folder: it leaves no file behind, and closing it lets go of nothing that
    SQLite holds. It is manners only, SQLite's own locks are what keeps the data whole; so whoever
    finds it held for too long, by a process that stands still, passes.
    """

    def __init__(self, file: Path) -> None:
        self._folder = file.absolute().parent
        self._descriptor: int | None = None

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be the one who asks for the write lock."""
        descriptor = self._open()
        if descriptor is None or not _locked(descriptor):
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # whether there is a database is for SQLite to say
                return None
        return self._descriptor


def _locked(descriptor: int) -> bool:
    end = time.monotonic() + TURNSTILE_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(TURNSTILE_INTERVAL)
        else:
            return True
