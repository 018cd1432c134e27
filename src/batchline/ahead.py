"""A child process that starts first, and imports what its work needs while this one finds it out.

Reading the options of a command takes as long as importing what predicts. Two CPU cores do both at
the same time.
"""

import gc
import mmap
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from batchline import children
from batchline.children import Child
from batchline.machine import keep_numpy_single_threaded

SHARED_BYTES = 16 * 1024
"""Memory that this process and the child share."""

Work = Callable[[], int]


class Ahead:
    """The child process, which waits for its work.

    Args:
        memory: what the child writes here, this process can read.
    """

    def __init__(self, child: Child, requests: int, memory: mmap.mmap) -> None:
        self._child = child
        self._requests = requests
        self.memory = memory

    def give(self, request: bytes) -> Child:
        """Let the child begin. If it was killed meanwhile, it has just ended."""
        with suppress(BrokenPipeError), os.fdopen(self._requests, "wb") as file:
            file.write(request)
        return self._child

    def end(self) -> None:
        """End a child that is not needed."""
        os.close(self._requests)
        self._child.kill()


_started: Ahead | None = None


def start(module: str, function: str) -> None:
    """Start the child process. It imports a module, and calls the function with a request.

    The function takes the shared memory and the request, and returns the exit code.

    Raises:
        OSError: the system has no memory or no number left for a process.
    """
    global _started
    memory = mmap.mmap(-1, SHARED_BYTES)
    waiting, requests = os.pipe()
    child = children.start()
    if child is not None:
        os.close(waiting)
        _started = Ahead(child, requests, memory)
        return
    os.close(requests)
    leave_with(lambda: _work(module, function, waiting, memory))


def take() -> Ahead | None:
    """Return the child that was started, once."""
    global _started
    found, _started = _started, None
    return found


def leave_with(work: Work) -> NoReturn:
    """Do the work and leave this process with its exit code.

    It skips what Python does at the end of a process, which takes as long as predicting many rows.
    """
    try:
        code = work()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _work(module: str, function: str, waiting: int, memory: mmap.mmap) -> int:
    gc.disable()  # the objects of modules stay
    keep_numpy_single_threaded()
    with suppress(ImportError):  # the other process says what is missing
        import_module(module)
    gc.freeze()  # otherwise the next collection would visit all of them, for 12 ms
    gc.enable()
    with os.fdopen(waiting, "rb") as file:
        request = file.read()
    if not request:
        return 0  # the other process has ended
    found: int = getattr(import_module(module), function)(memory, request)
    return found
