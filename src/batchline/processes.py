"""API and batch job as two child processes that live and end together."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

GRACE = 25.0
"""Seconds that a child may take to finish what it has in flight, before it is killed."""
LIFELINE = "BATCHLINE_LIFELINE"


class Children:
    """`batchline` commands that run side by side; leaving the block ends all of them.

    Each child holds the reading end of a pipe whose writing end only this process has: should
    this process be killed, the pipe breaks, and the child ends itself.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._lifeline, self._kept = os.pipe()
        os.set_inheritable(self._lifeline, True)
        self._processes = [self._start(command, environment) for command in commands]

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # -P: a file http.py in the folder where somebody starts this is none of our modules.
            [sys.executable, "-P", "-m", "batchline", *command],
            env={**os.environ, **environment, LIFELINE: str(self._lifeline)},
            pass_fds=[self._lifeline],
            start_new_session=True,  # a Ctrl-C on the terminal is ours to pass on, once
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.close(self._kept)
        os.close(self._lifeline)

    def wait_for_first(self, stop: threading.Event) -> int | None:
        """The exit status of the first child that ends, or None if `stop` is set before."""
        for process in self._processes:
            threading.Thread(target=_set_at_end, args=(process, stop), daemon=True).start()
        stop.wait()
        ended = [process.poll() for process in self._processes]
        return next((status for status in ended if status is not None), None)


def _set_at_end(process: subprocess.Popen[bytes], event: threading.Event) -> None:
    process.wait()
    event.set()


def end_with_parent() -> None:
    """In a child: send SIGTERM to this process once the parent is gone."""
    lifeline = os.environ.pop(LIFELINE, None)
    if lifeline is not None:
        threading.Thread(target=_watch, args=(int(lifeline),), daemon=True).start()


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
