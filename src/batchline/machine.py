"""The processor and the CPU cores of this process, and its garbage collector."""

import gc
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
KEPT_BYTES = 32 * 1024 * 1024
"""The most that glibc accepts for blocks that it takes from its own memory."""


def cores() -> int:
    """Return the number of CPU cores that this process may use, in a container too."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def processor() -> str:
    """Return the name of the processor, since predictions can differ slightly between two."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:255]
    return (platform.processor() or platform.machine())[:255]


def collect_garbage_rarely() -> None:
    """Search for reference cycles only after a million new objects.

    A batch creates a list for each item and each row, and none of them is part of a cycle. With the
    default threshold, the garbage collector took a third of the job's time.
    """
    gc.freeze()
    gc.set_threshold(1_000_000)


def keep_freed_memory() -> None:
    """Let glibc keep the memory of large arrays that are freed for those that come next.

    Otherwise it asks the kernel anew for each, which took a fifth of the time of `predict`.
    """
    import ctypes  # slow to import, and only this needs it

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, 8 * KEPT_BYTES)


def take_turns_often() -> None:
    """Let a thread that waits for the interpreter get it soon.

    Threads that predict leave it for most of their work, and come back after fractions of a
    millisecond. By default, one that comes back waits 5 ms for another one that runs Python code.
    """
    sys.setswitchinterval(0.0001)


def keep_numpy_single_threaded() -> None:
    """Keep numpy, once it is imported, from starting threads for products of large matrices."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
