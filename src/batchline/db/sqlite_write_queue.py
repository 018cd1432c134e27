"""A queue of the processes that write to one SQLite file.

SQLite has no such queue. A process that waits for SQLite's write lock polls it, at intervals of up
to 100 ms, so a job that stores one batch after another would take the lock first every time. With
this queue, only one process polls the write lock at a time, and the others wait for their turn.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchline.constants import SQLITE_POLL_INTERVAL, SQLITE_WRITE_QUEUE_WAIT


class SqliteWriteQueue:
    """The place of one process in the queue of one file. One thread at a time may use it.

    The queue is an advisory lock on the file's folder. So it leaves no file behind, and closing it
    does not release a lock of SQLite. SQLite's own locks protect the data. If a stalled process
    holds the queue, the next one writes without it after `SQLITE_WRITE_QUEUE_WAIT` seconds.
    """

    def __init__(self, file: Path) -> None:
        self._folder = file.absolute().parent
        self._descriptor: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the queue's lock while the caller takes SQLite's write lock."""
        descriptor = self._open()
        if descriptor is None or not _locked(descriptor):
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # SQLite reports a missing folder itself
                return None
        return self._descriptor


def _locked(descriptor: int) -> bool:
    end = time.monotonic() + SQLITE_WRITE_QUEUE_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(SQLITE_POLL_INTERVAL)
        else:
            return True
