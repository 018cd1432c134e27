"""The process that predicts files, and the one that watches over it."""

import logging
import os
import shlex
import signal
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from batchline.cli.output import count
from batchline.cli.predict_output import NOTHING_WRITTEN
from batchline.redaction import urls

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.scoring.supervisor import Attempt

STREAM = "-"


def start_process(
    sources: Sequence[str], output: str, settings: "Settings", *, resume: bool
) -> "Attempt":
    """Go on in a child process, and exit in this one as the last child does.

    Raises:
        RunStopped: the child processes end without getting any further.
    """
    from batchline.file_errors import RunStopped
    from batchline.files.outputs import work_folder
    from batchline.scoring.journal import abandoned
    from batchline.scoring.supervisor import Attempt, Stopped, Supervisor

    folder = work_folder(output)
    _check_resume(sources, folder, output, resume=resume)

    def finished() -> int:
        saved = abandoned(folder) if folder else None
        return saved.parts if saved else 0

    earlier = finished() if resume else 0
    supervisor = Supervisor(
        settings.worker_threads, settings.model_timeout, finished, why_once(sources, output)
    )
    try:
        found = supervisor.run()
    except Stopped as stopped:
        typer.echo(f"stopped: {_outcome(sources, output, folder)}", err=True)
        raise typer.Exit(128 + stopped.number) from None
    except RunStopped as error:
        error.hint = error.hint or _how_to_continue(folder)
        raise
    if isinstance(found, Attempt):
        return found
    if found == 1 and (kept := _how_to_continue(folder)) and finished() > earlier:
        typer.echo(kept, err=True)  # not if --resume did nothing: it would fail again
    sys.stderr.flush()
    os._exit(found)  # this process has nothing to undo, and leaving at once saves time


def exit_at_signals() -> None:
    """Exit at once at Ctrl-C or SIGTERM, until there is something to undo.

    An exception would not do. An extension module that is being imported replaces it by its own.
    """

    def on_signal(number: int, frame: object) -> None:
        os.write(sys.stderr.fileno(), f"stopped: {NOTHING_WRITTEN}\n".encode())
        os._exit(128 + number)

    _handle(on_signal)


@contextmanager
def stopped_by_signals(message: Callable[[], str] | None = None) -> Iterator[Callable[[], None]]:
    """Leave the block at Ctrl-C or SIGTERM and exit.

    Args:
        message: returns what the output has then. None: the parent process says it.

    Returns:
        A function to call once the output is complete. From then on, both are ignored.
    """
    from batchline.scoring.supervisor import Stopped

    def on_signal(number: int, frame: object) -> None:
        _handle(signal.SIG_DFL)  # a second one ends the process at once
        # SQLAlchemy would log that it cannot close the cursor that this interrupts.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        raise Stopped(number)

    _handle(on_signal)
    try:
        yield partial(_handle, signal.SIG_IGN)
    except Stopped as stopped:
        if message:
            typer.echo(f"stopped: {message()}", err=True)
            sys.stderr.flush()
        raise typer.Exit(128 + stopped.number) from None
    except BaseException:
        _handle(signal.SIG_DFL)
        raise


def _handle(handler: Any) -> None:
    """Handle both signals, except ignored ones: a child process ignores Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _check_resume(
    sources: Sequence[str], folder: Path | None, output: str, *, resume: bool
) -> None:
    from batchline.file_errors import NotWritten
    from batchline.files.outputs import WORK_FOLDER
    from batchline.scoring.journal import abandoned

    if resume and (folder is None or any(_is_stream(source) for source in sources)):
        what = "standard input" if folder else f"the output {urls(output)}"
        raise typer.BadParameter(
            f"{what} cannot be continued, only files on this machine can. Leave --resume out",
            param_hint="--resume",
        )
    saved = abandoned(folder) if folder and not resume else None
    if saved and folder and folder.name == WORK_FOLDER:
        raise NotWritten(
            f"the folder {output} has the rows of a run that was interrupted",
            hint="add --resume to continue it, or give another folder",
        )
    if saved and saved.parts and not any(_is_stream(source) for source in sources):
        typer.echo(
            f"an interrupted run with {count(saved.mark.rows, 'row')} exists: add --resume to "
            "continue it. This run starts over",
            err=True,
        )


def why_once(sources: Sequence[str], output: str) -> str:
    """Return why no second process could make the run, or "" if one could."""
    if any(_is_stream(source) for source in sources):
        return "standard input cannot be read a second time"
    if _is_stream(output):
        return "the rows in standard output cannot be taken back"
    return ""


def _is_stream(path: str) -> bool:
    if path == STREAM:
        return True
    return os.path.exists(path) and not stat.S_IFMT(os.stat(path).st_mode) & (  # noqa: PTH110, PTH116
        stat.S_IFREG | stat.S_IFDIR
    )


def _outcome(sources: Sequence[str], output: str, folder: Path | None) -> str:
    """Say what the output has after a run was stopped, and how to go on."""
    from batchline.scoring.journal import remove

    if _is_stream(output):
        return "standard output has a part of the rows. Run the command again to get all of them"
    if any(_is_stream(source) for source in sources):
        if folder:
            remove(folder)
        return f"{NOTHING_WRITTEN}. To be able to continue, save standard input in a file first"
    if folder is None:
        return f"{NOTHING_WRITTEN}. Run the command again: only a file on this machine is continued"
    return _how_to_continue(folder) or NOTHING_WRITTEN


def _how_to_continue(folder: Path | None) -> str:
    """Say how to continue the run that was interrupted, or remove what cannot be continued."""
    from batchline.scoring import journal

    saved = folder and journal.abandoned(folder)
    if not saved or not folder:
        return ""
    if not saved.parts:
        journal.remove(folder)
        return ""
    words = [urls(each) for each in sys.argv[1:] if each != "--resume"]
    command = shlex.join(["batchline", *words, "--resume"])
    return f"{count(saved.mark.rows, 'row')} are kept in {folder}. To continue, run:\n{command}"
