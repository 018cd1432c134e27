"""Run the batch job in a child process, and replace that process when it dies.

A second child predicts suspect items, so that nothing else dies or waits with them. This process
imports no ONNX Runtime and has no connection to the database.
"""

import mmap
import os
import select
import signal
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from batchline import children
from batchline.children import Child
from batchline.constants import DRAIN_TIMEOUT, RELEASE_TIMEOUT

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


class Board:
    """Messages of the children to their parent, in memory that they share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2)

    @property
    def has_started(self) -> bool:
        """Whether a child has begun to predict. Until then its errors are those of the start."""
        return bool(self._memory[0])

    def started(self) -> None:
        self._memory[0] = 1

    @property
    def has_suspects(self) -> bool:
        return bool(self._memory[1])

    def report_suspects(self) -> None:
        self._memory[1] = 1

    def clear_suspects(self) -> None:
        self._memory[1] = 0


@dataclass(frozen=True, slots=True)
class Assignment:
    """The facts that a child process must know.

    Args:
        owner: the name of the process, under which it claims items.
        predecessor: the name of the process that died, if it replaces one.
    """

    role: Role
    owner: str
    predecessor: str | None
    board: Board


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

    def owner(self, number: int) -> str:
        return f"{self.name}-{self.role[0]}{number}"

    def start(self) -> bool:
        """Start the next process. Return False in that process."""
        self.number += 1
        self.begun = time.monotonic()
        self.child = children.start(PATIENCE)
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
    """Starts the processes of one `batchline job`.

    Args:
        once: whether the job ends when nothing is pending. Then each of its errors ends it.
        parent: a file descriptor that closes with the parent, if there is one.
    """

    once: bool
    parent: int | None = None
    board: Board = field(default_factory=Board)
    name: str = field(default_factory=process_name)
    _posts: dict[Role, Post] = field(default_factory=dict)
    _signal: int | None = None

    def run(self) -> Assignment | int:
        """Return an assignment in each child, and the exit status of the job in this process."""
        self._posts = {role: Post(role, self.name) for role in Role}
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._on_signal)
        status: int | None = None
        while True:
            for post in self._posts.values():
                if status is None and self._is_due(post) and not self._start(post):
                    return self._assigned(post)
            self._wait()
            for post in self._posts.values():
                code = post.ended()
                found = None if code is None else self._note(post, code)
                status = found if status is None else status
            if self._signal is not None and status is None and not self._running():
                return 0  # the signal came before a process was replaced
            if status is not None and not self._stop_all():
                return status

    def _start(self, post: Post) -> bool:
        """Start the next process of a post. Return False in that process."""
        if not post.start():
            return False
        if self._signal is not None:  # it came during the start
            _send(self._running(), signal.SIGTERM)
        return True

    def _running(self) -> list[Child]:
        return [post.child for post in self._posts.values() if post.child]

    def _is_due(self, post: Post) -> bool:
        if post.child is not None or self._signal is not None or time.monotonic() < post.due:
            return False
        if post.role is Role.WORK:
            return True
        if self.board.has_suspects:
            self.board.clear_suspects()
            return True
        return False

    def _assigned(self, post: Post) -> Assignment:
        for other in self._posts.values():
            if other.child is not None:
                other.child.close()  # or it would not notice the end of its parent
        before = post.owner(post.number - 1) if post.number > 1 else None
        return Assignment(post.role, post.owner(post.number), before, self.board)

    def _wait(self) -> None:
        """Wait for the end of a child or of the parent."""
        ends = [child.ended for child in self._running()]
        parent = [] if self.parent is None else [self.parent]
        ready, _, _ = select.select([*ends, *parent], [], [], POLL_SECONDS)
        if self.parent is not None and self.parent in ready:
            self.parent = None
            self._on_signal(signal.SIGTERM, None)

    def _note(self, post: Post, code: int) -> int | None:
        """Return the exit status of the job if the end of a process is the end of the job."""
        if self._signal is not None and code == STOPPED:
            return 128 + self._signal
        if self._signal is not None or (post.role is Role.WORK and not self._is_replaced(code)):
            return code if code >= 0 else 128 - code
        if code != 0:
            post.failed()
            log.error("a process of the job died", role=post.role, end=_in_words(code))
            self.board.report_suspects()
        return None

    def _is_replaced(self, code: int) -> bool:
        if code == 0 or not self.board.has_started:
            return False
        return code < 0 or code == STUCK or not self.once

    def _stop_all(self) -> bool:
        """Ask the children to stop. Return whether there are any."""
        running = self._running()
        if running and self._signal is None:
            self._on_signal(signal.SIGTERM, None)
        return bool(running)

    def _on_signal(self, number: int, frame: object) -> None:
        is_second, self._signal = self._signal is not None, number
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
