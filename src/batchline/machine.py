"""What this machine gives the process: its cores, and Python's garbage collector."""

import gc
import os


def cores() -> int:
    """Return how many cores this process may use. In a container they may be few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def collect_garbage_rarely() -> None:
    """Let Python look for reference cycles only after a million new objects.

    A batch makes a list for each item and each row, and none of them is part of a cycle. Without
    this, the collector looked through all of them again and again and took a third of the job's
    time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000)
