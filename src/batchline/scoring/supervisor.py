"""Run the rest of the program in a child process, and replace it when a row has ended it.

This process imports neither ONNX Runtime nor pyarrow.
"""

import itertools
import mmap
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from batchline import children
from batchline.ahead import leave_with
from batchline.children import Child
from batchline.errors import TimedOut, WorkerCrashed
from batchline.file_errors import RunStopped
from batchline.scoring.call_board import CallBoard
from batchline.scoring.suspects import Case, Death

POLL_SECONDS = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a process is replaced. They double with each one that got no further."""
MAX_VAIN = 8
"""Processes in a row that may end without getting any further."""
MAX_KILLED_IN_LOAD = 3
"""Processes in a row that may be killed while they load the model. A trap is certain at once."""
MAX_CONVICTED_FIRST = 5
"""Rows that may end the process before any call of the model has returned."""
MAX_CONVICTED = 100
"""Rows that may end the process. Each takes two starts, about two seconds."""
ONCE_HINT = "read from a file and write to a file, so that the row can be found"
STOPS = signal.SIGINT, signal.SIGTERM
STOPPED_CODES = 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL
"""How a process ends that was asked to stop, unless its run was complete or had failed before."""
TRAPS = {
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGILL,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGTRAP,
}
"""Signals that a process sends to itself."""


Progress = tuple[int, int, int | None]
"""Finished parts, rows that ended the process, and rows per call."""


class EndedInLoad(Exception):
    """The model ended the process that loads it, by a signal with this name."""

    def __init__(self, name: str, *, was_killed: bool) -> None:
        super().__init__(name)
        self.was_killed = was_killed


class Stopped(BaseException):
    """This process was asked to stop by a signal."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the child process must know.

    Args:
        number: how many others there were before it.
    """

    number: int
    board: CallBoard
    case: Case


class Supervisor:
    """Starts one process after the other until the run is complete.

    Args:
        threads: that call the model at the same time.
        timeout: seconds for one call of the model.
        finished: returns how many parts of the run are finished.
        once: why no second process can make the run, or "".
        memory: shared with a process that has started already.
    """

    def __init__(
        self,
        threads: int,
        timeout: float,
        finished: Callable[[], int],
        once: str = "",
        memory: mmap.mmap | None = None,
    ) -> None:
        self._timeout = timeout
        self._finished = finished
        self._once = once
        self._board = CallBoard(threads, memory)
        self._case = Case()
        self._vain = 0
        self._killed_in_load = 0
        self._signal = 0

    def run(self, work: Callable[[Attempt], int], first: Callable[[], Child] | None = None) -> int:
        """Return the exit code of the last process.

        Args:
            work: what a process does. It returns the exit code.
            first: returns the first process, if one has started already.

        Raises:
            RunStopped: the processes end without getting any further.
            EndedInLoad: they end while they load the model.
            Stopped: by SIGINT or SIGTERM, after the child was stopped.
        """
        for each in STOPS:
            signal.signal(each, self._on_signal)
        for number in itertools.count():
            if self._signal:
                raise Stopped(self._signal)
            before = self._progress()
            if first and number == 0:
                process = first()
            else:
                process = self._start(work, Attempt(number, self._board, self._case))
            code, death = self._watch(process)
            if death is None:
                return code
            self._note(death, before)
        raise AssertionError

    def _start(self, work: Callable[[Attempt], int], attempt: Attempt) -> Child:
        process = children.start()
        if process is None:
            leave_with(lambda: work(attempt))
        return process

    def _watch(self, process: Child) -> tuple[int, Death | None]:
        """Wait for the end of a process, and end it if a call takes too long.

        Raises:
            Stopped: this process got a signal before the run was complete.
        """
        while (code := process.wait(POLL_SECONDS)) is None:
            if self._signal:
                if (code := process.stop()) in STOPPED_CODES:
                    raise Stopped(self._signal)
                return code, None
            if late := self._board.in_progress(self._timeout):
                process.kill()
                detail = f"the model took longer than {self._timeout:g} s (MODEL_TIMEOUT)"
                death = Death(TimedOut.code, detail, True)
                for call in late:  # it is known of each that it is late
                    self._case = self._case.after([call], death)
                return 1, death
        if code >= 0:
            return code, None
        name, is_certain = signal.Signals(-code).name, -code in TRAPS
        self._killed_in_load = self._killed_in_load + 1 if self._board.is_loading else 0
        if self._board.is_loading and (is_certain or self._killed_in_load == MAX_KILLED_IN_LOAD):
            raise EndedInLoad(name, was_killed=not is_certain)
        death = Death(WorkerCrashed.code, f"the model ended its process ({name})", is_certain)
        self._case = self._case.after(self._board.in_progress(), death)
        return 1, death

    def _on_signal(self, number: int, frame: object) -> None:
        """Note the signal. An exception could come between the fork and its note."""
        self._signal = number
        for each in STOPS:
            signal.signal(each, signal.SIG_DFL)  # a second one ends the process at once

    def _progress(self) -> Progress:
        return self._finished(), len(self._case.convicted), self._case.call_rows

    def _note(self, death: Death, before: Progress) -> None:
        """Wait before the next process is started.

        Raises:
            RunStopped: there will be none.
        """
        self._board.clear()
        convicted = len(self._case.convicted)
        self._vain = self._vain + 1 if self._progress() == before else 0
        if self._once:
            raise RunStopped(f"{death.detail}, and {self._once}", hint=ONCE_HINT)
        if convicted >= MAX_CONVICTED_FIRST and not self._board.completed:
            raise RunStopped(f"each of the first {convicted} rows failed: {death.detail}")
        if convicted >= MAX_CONVICTED:
            raise RunStopped(f"{convicted} rows failed: {death.detail}")
        if self._vain >= MAX_VAIN:
            raise RunStopped(f"the process that predicts ended {MAX_VAIN} times: {death.detail}")
        time.sleep(min(FIRST_PAUSE * 2**self._vain, LONGEST_PAUSE))
