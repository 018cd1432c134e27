"""The process that runs the batch job, and the one that watches over it."""

import signal
from typing import TYPE_CHECKING

import typer

from batchline.cli.wiring import configure_logging, stop_event

if TYPE_CHECKING:
    from batchline.cli.wiring import StopEvent
    from batchline.configurations import Settings
    from batchline.task.supervisor import Assignment


def start_process(settings: "Settings", *, once: bool) -> "tuple[Assignment, StopEvent]":
    """Go on in a child process, and exit in this one as the job does.

    Return what the child does, and the event that asks it to stop.
    """
    from batchline import processes
    from batchline.task.supervisor import Assignment, Supervisor

    configure_logging(settings)
    found = Supervisor(once, processes.parent_pipe()).run()
    if isinstance(found, Assignment):
        return found, stop_event([signal.SIGTERM])  # its parent passes Ctrl-C on as SIGTERM
    raise typer.Exit(found)
