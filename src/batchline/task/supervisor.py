"""Run the batch job in a child process, and replace that process when it dies.

A second child predicts suspect items, so that nothing else dies or waits with them. This process
imports no ONNX Runtime and has no connection to the database.
"""

import mmap
import os
import select
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from batchline import children, metrics
from batchline.children import Child
from batchline.constants import DRAIN_TIMEOUT, RELEASE_TIMEOUT
from batchline.metrics import Numbers
from batchline.registry.loads import LoadRecord, Loads, Place

STUCK = 75
"""The exit status of a process in which a call of the model did not end."""
STOPPED = 128 + signal.SIGTERM
"""The exit status of a process that was stopped with work left. Ctrl-C is passed on as SIGTERM."""
POLL_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a process is replaced. They double with each one that died soon."""
PATIENCE = DRAIN_TIMEOUT + RELEASE_TIMEOUT + 2.0
"""Seconds for a child to stop after the end of its parent."""

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """The task of a child process."""

    WORK = "work"
    SUSPECTS = "suspects"
    METRICS = "metrics"
    """Answers Prometheus. So the port answers while the other processes die and are replaced."""


class Board:
    """Messages of the children to their parent, in memory that they share.

    Each number is written by one process at a time.
    """

    _STARTED, _HAS_SUSPECTS, _LEFT = range(3)
    _COUNTS: Mapping[Role, tuple[int, int]] = {Role.WORK: (3, 4), Role.SUSPECTS: (5, 6)}
    _SEEN = 7
    _UNKNOWN = -1

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self._numbers[self._LEFT] = self._UNKNOWN
        self._lock = threading.Lock()
        self.numbers: Mapping[Role, Numbers] = {Role.WORK: Numbers(), Role.SUSPECTS: Numbers()}

    @property
    def has_started(self) -> bool:
        """Whether a child has begun to predict. Until then its errors are those of the start."""
        return bool(self._numbers[self._STARTED])

    def started(self) -> None:
        self._numbers[self._STARTED] = 1

    @property
    def has_suspects(self) -> bool:
        return bool(self._numbers[self._HAS_SUSPECTS])

    def report_suspects(self) -> None:
        self._numbers[self._HAS_SUSPECTS] = 1

    def clear_suspects(self) -> None:
        self._numbers[self._HAS_SUSPECTS] = 0

    def count(self, role: Role, *, succeeded: int = 0, failed: int = 0) -> None:
        """Add items that a child with this role has predicted."""
        with self._lock:
            for place, more in zip(self._COUNTS[role], (succeeded, failed), strict=True):
                self._numbers[place] += more

    @property
    def succeeded(self) -> int:
        return sum(self._numbers[succeeded] for succeeded, _ in self._COUNTS.values())

    @property
    def failed(self) -> int:
        return sum(self._numbers[failed] for _, failed in self._COUNTS.values())

    @property
    def left(self) -> int | None:
        """The items that are still to be predicted, if the worker process has counted them."""
        left = self._numbers[self._LEFT]
        return None if left == self._UNKNOWN else left

    def leave(self, items: int) -> None:
        self._numbers[self._LEFT] = items

    def worker_starts(self) -> None:
        """Take down that a worker process starts. It shows life once the database has answered."""
        self._numbers[self._SEEN] = 0

    def show_life(self) -> None:
        """Take down that the worker process runs. It calls this again and again."""
        self._numbers[self._SEEN] = time.monotonic_ns()

    @property
    def silent_for(self) -> float:
        """Seconds since the worker process has shown life, or 0 if it has not begun to."""
        seen = self._numbers[self._SEEN]
        return (time.monotonic_ns() - seen) / 1e9 if seen else 0.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """The facts that a child process must know.

    Args:
        owner: the name of the process, under which it claims items.
        predecessor: the name of the process that died, if it replaces one.
        loads: what the processes of the job know about loading its models.
        is_blameless: whether no item of the predecessor is the reason of its end.
    """

    role: Role
    owner: str
    predecessor: str | None
    board: Board
    loads: Loads = field(default_factory=Loads)
    is_blameless: bool = False

    def count(self, *, succeeded: int = 0, failed: int = 0) -> None:
        """Report items that were predicted."""
        self.board.count(self.role, succeeded=succeeded, failed=failed)


@dataclass(slots=True)
class Post:
    """The place of a child process, and the one that has it."""

    role: Role
    name: str
    child: Child | None = None
    number: int = 0
    failures: int = 0
    begun: float = 0.0
    due: float = 0.0
    ended_in_load: bool = False

    @property
    def place(self) -> Place:
        return Place.WORKER if self.role is Role.WORK else Place.ISOLATION

    def owner(self, number: int) -> str:
        return f"{self.name}-{self.role[0]}{number}"

    def start(self) -> bool:
        """Start the next process. Return False in that process.

        Raises:
            OSError: the system has no memory or no number left for a process.
        """
        self.number += 1
        self.begun = time.monotonic()
        try:
            self.child = children.start(PATIENCE)
        except OSError:
            self.number -= 1
            raise
        return self.child is not None

    def ended(self) -> int | None:
        """Return the exit code of the process, or minus its signal, if it has ended."""
        code = self.child.wait(0) if self.child else None
        if code is not None:
            self.child = None
        return code

    def failed(self) -> None:
        """Wait before the next process is started."""
        now = time.monotonic()
        self.failures = 0 if now - self.begun > LONGEST_PAUSE else self.failures + 1
        self.due = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.failures)


def process_name() -> str:
    """Return a name for this process that no other has."""
    return f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


@dataclass(slots=True)
class Supervisor:
    """Starts the processes of one `batchline job` or `backfill`.

    Args:
        once: whether the job ends when nothing is pending. Then each of its errors ends it.
        parent: a file descriptor that closes with the parent, if there is one.
        listener: of the process for metrics. Without it, there is none. Here it stays open, so that
            clients can wait while that process is replaced.
    """

    once: bool
    parent: int | None = None
    listener: socket.socket | None = None
    board: Board = field(default_factory=Board)
    loads: LoadRecord = field(default_factory=LoadRecord)
    name: str = field(default_factory=process_name)
    _posts: dict[Role, Post] = field(default_factory=dict)
    _signal: int | None = None
    _signalled: float = 0.0
    _status: int | None = None

    def run(self, work: Callable[[Assignment], None]) -> int:
        """Do the work in children, and return the exit status of the job.

        A child exits when its work is done.
        """
        self._posts = {role: Post(role, self.name) for role in Role}
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._on_signal)
        while True:
            for post in self._posts.values():
                if self._is_due(post) and not self._start(post):
                    work(self._assigned(post))
                    sys.exit()
            self._wait()
            if self._signal is not None and time.monotonic() - self._signalled > PATIENCE:
                _send(self._running(), signal.SIGKILL)  # the database does not respond, perhaps
            for post in self._posts.values():
                code = post.ended()
                if code is not None:
                    self._note(post, code)
            if self._is_stopping and not self._running():
                if self._signal is not None:  # so that a log tells a stop from a kill
                    log.info("job stopped", signal=signal.Signals(self._signal).name)
                return self._exit_status()

    @property
    def _is_stopping(self) -> bool:
        return self._signal is not None or self._status is not None

    def _exit_status(self) -> int:
        """Return the status of the worker process, or that of a stop with work left."""
        if self._status is None:  # the signal came while a worker process started
            self._status = STOPPED if self.once else 0
        return 128 + self._signal if self._signal and self._status == STOPPED else self._status

    def _start(self, post: Post) -> bool:
        """Start the next process of a post, or try later. Return False in that process."""
        if post.role is Role.WORK:
            self.board.worker_starts()
        try:
            if not post.start():
                return False
        except OSError as error:
            if not self.board.has_started:
                raise
            post.failed()
            log.error(
                "a process of the job cannot be started", process=post.role, detail=str(error)
            )
            self.board.report_suspects()  # of which the notice was taken down for this process
        if self._is_stopping:  # a signal came during the start
            _send(self._running(), signal.SIGTERM)
        return True

    def _running(self) -> list[Child]:
        return [post.child for post in self._posts.values() if post.child]

    def _is_due(self, post: Post) -> bool:
        if post.child is not None or self._is_stopping or time.monotonic() < post.due:
            return False
        if post.role is Role.WORK:
            return True
        if post.role is Role.METRICS:
            return self.listener is not None
        if self.board.has_suspects:
            self.board.clear_suspects()
            return True
        return False

    def _assigned(self, post: Post) -> Assignment:
        for other in self._posts.values():
            if other.child is not None:
                other.child.close()  # or it would not notice the end of its parent
        if post.role is not Role.METRICS:
            metrics.write_to(self.board.numbers[post.role])
            if self.listener is not None:
                self.listener.close()
        before = post.owner(post.number - 1) if post.number > 1 else None
        return Assignment(
            post.role,
            post.owner(post.number),
            before,
            self.board,
            Loads(self.loads, post.place),
            is_blameless=post.ended_in_load and post.role is Role.SUSPECTS,
        )

    def _wait(self) -> None:
        """Wait for the end of a child or of the parent."""
        ends = [child.ended for child in self._running()]
        parent = [] if self.parent is None else [self.parent]
        ready, _, _ = select.select([*ends, *parent], [], [], POLL_SECONDS)
        if self.parent is not None and self.parent in ready:
            self.parent = None
            self._on_signal(signal.SIGTERM, None)

    def _note(self, post: Post, code: int) -> None:
        """Note the end of a process: it ends the job, or the process is replaced."""
        if post.role is Role.METRICS:
            if not self._is_stopping:
                post.failed()
                log.error("a process of the job died", process=post.role, end=_in_words(code))
            return
        has_crashed = code < 0 and not self._is_stopping
        post.ended_in_load = self.loads.process_ended(post.place, has_crashed=has_crashed)
        if self._signal is not None:
            if self._has_begun(code) and (code != 0 or post.role is Role.WORK):
                self._status = self._status or (STOPPED if code < 0 else code)
        elif self._status is not None:
            pass  # the work is done
        elif post.role is Role.WORK and not self._is_replaced(code):
            self._status = code if code >= 0 else 128 - code
            _send(self._running(), signal.SIGTERM)
        elif code != 0:
            post.failed()
            log.error("a process of the job died", process=post.role, end=_in_words(code))
            self.board.report_suspects()

    def _has_begun(self, code: int) -> bool:
        """Return whether a process that was stopped had begun, and so had anything to finish."""
        return code != -signal.SIGTERM and (code != STOPPED or self.board.has_started)

    def _is_replaced(self, code: int) -> bool:
        if code == 0 or not self.board.has_started:
            return False
        return code < 0 or code == STUCK or not self.once

    def _on_signal(self, number: int, frame: object) -> None:
        is_second, self._signal = self._signal is not None, number
        self._signalled = time.monotonic()
        _send(self._running(), signal.SIGKILL if is_second else signal.SIGTERM)
        if is_second:
            os._exit(128 + number)


def _send(running: list[Child], number: signal.Signals) -> None:
    for child in running:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child.pid, number)


def _in_words(code: int) -> str:
    if code == STUCK:
        return "a call of the model did not end"
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
