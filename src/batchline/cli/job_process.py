"""The processes that predict, and the one that watches over them and reports what they did."""

import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from batchline.cli.database_wait import DatabaseWait
from batchline.cli.job_metrics import serve_metrics
from batchline.cli.output import count, predicted
from batchline.cli.run import run_suspects
from batchline.cli.stop_event import stop_event
from batchline.cli.wiring import configure_logging, opened

if TYPE_CHECKING:
    from batchline.cli.stop_event import StopEvent
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.task.supervisor import Assignment, Board

Work = Callable[["Database", "StopEvent", "Assignment"], None]


def supervise(
    settings: "Settings",
    work: Work,
    *,
    once: bool,
    title: str = "",
    note: str = "",
    database_wait: float = 0.0,
    listener: socket.socket | None = None,
) -> None:
    """Do the work in child processes, and exit as they do.

    Args:
        work: all but the suspect items, which another child predicts. It gets the open database,
            the event that asks it to stop, and its assignment.
        once: whether the work ends. Then the last line says how much was done.
        title: the beginning of that line.
        note: a line behind it.
        database_wait: seconds to wait for a database that is not up yet.
        listener: for metrics, if anybody asks for them.
    """
    from batchline import processes
    from batchline.task.supervisor import Role, Supervisor

    configure_logging(settings, "job")
    supervisor = Supervisor(once, processes.parent_pipe(), listener)

    def be_child(assignment: "Assignment") -> None:
        if assignment.role is Role.METRICS and listener is not None:
            configure_logging(settings, "job", assignment.role)
            serve_metrics(settings, listener, assignment.board)
        else:
            _predict(settings, work, database_wait, assignment)

    status = supervisor.run(be_child)
    if once:
        _report(supervisor.board, status, title, note)
    raise typer.Exit(status)


def _predict(
    settings: "Settings", work: Work, database_wait: float, assignment: "Assignment"
) -> None:
    from batchline.task.supervisor import Role

    # Ctrl-C reaches the supervisor, which passes it on as SIGTERM.
    stop = stop_event([signal.SIGTERM], lambda: assignment.board.has_started)
    with opened(settings, DatabaseWait(database_wait, stop)) as database:
        if assignment.role is Role.SUSPECTS:
            run_suspects(database, settings, stop, assignment)
        else:
            work(database, stop, assignment)


def _report(board: "Board", status: int, title: str, note: str) -> None:
    """Print how much was done, unless an error has ended it before there was anything."""
    is_error = 0 < status <= 128
    if is_error and not board.succeeded + board.failed:
        return
    typer.echo(title + predicted(board.succeeded, board.failed) + _left(board, status))
    if note:
        typer.echo(note, err=True)
    if board.failed:
        typer.echo("hint: run `batchline failures` to see why items failed", err=True)


def _left(board: "Board", status: int) -> str:
    if status <= 128:
        return ""
    left = "some items" if board.left is None else count(board.left, "item")
    return f", stopped with {left} left"
