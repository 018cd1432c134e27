"""Commands inside of the test's process, without the second that it takes to start one.

Each kind of command also has tests in a process of its own.
"""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest.mock import patch

import structlog
import typer
from typer.testing import CliRunner

from batchline import cli
from batchline.registry.probe import Probe
from batchline.scoring.supervisor import Attempt, Supervisor
from batchline.task import supervisor as of_job
from tests.service import environment, probed


def run_here(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Do what a `batchline` command does, up to its exit code, and return what it wrote.

    Child processes do their work here, so a model must not end them.
    """
    typed = ["batchline", *map(str, words)]
    with process_as_before(), CliRunner().isolation() as (stdout, stderr, _):
        with (
            patch.dict(os.environ, environment(**settings), clear=True),
            patch.object(sys, "argv", typed),
            patch.object(Supervisor, "run", child_of),
            patch.object(of_job.Supervisor, "run", worker_of),
            patch.object(Probe, "_answer", probed),
        ):
            code = exit_code()
        sys.stdout.flush()
        sys.stderr.flush()
        told = stdout.getvalue().decode(), stderr.getvalue().decode()
    return subprocess.CompletedProcess(typed, code, *told)


def child_of(supervisor: Supervisor, work: Callable[[Attempt], int], first: object) -> NoReturn:
    """Do in this process what the supervisor of `predict` does in its child process."""
    raise SystemExit(work(Attempt(0, supervisor._board, supervisor._case)))


def worker_of(supervisor: of_job.Supervisor, work: Callable[[of_job.Assignment], None]) -> int:
    """Do in this process what the supervisor of a job does in its worker process."""
    try:
        work(of_job.Assignment(of_job.Role.WORK, supervisor.name, None, supervisor.board))
    except typer.Exit as end:
        return end.exit_code
    return 0


def exit_code() -> int:
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextmanager
def process_as_before() -> Iterator[None]:
    """Take back what a command changes in its process: signals, logging, garbage collection."""
    signals = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    hooks = sys.excepthook, threading.excepthook
    handlers, level = [*logging.root.handlers], logging.root.level
    events, threshold = structlog.get_config(), gc.get_threshold()
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
    sys.excepthook, threading.excepthook = hooks
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.configure(**events)
    gc.set_threshold(*threshold)
    gc.unfreeze()
