"""The process that predicts files, and the one that watches over it."""

import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from batchline.cli.output import count

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

    supervisor = Supervisor(
        settings.worker_threads, settings.model_timeout, finished, _once(sources, output)
    )
    try:
        found = supervisor.run()
    except Stopped as stopped:
        kept = _how_to_continue(folder)
        typer.echo(f"stopped: {kept or 'nothing was written'}", err=True)
        raise typer.Exit(128 + stopped.number) from None
    except RunStopped as error:
        error.hint = error.hint or _how_to_continue(folder)
        raise
    if isinstance(found, Attempt):
        return found
    if found == 1 and (kept := _how_to_continue(folder)):
        typer.echo(kept, err=True)
    sys.stderr.flush()
    os._exit(found)  # this process has nothing to undo, and leaving at once saves time


@contextmanager
def stopped_by_its_parent() -> Iterator[None]:
    """Undo what is half done when SIGTERM arrives, and exit."""
    from batchline.scoring.supervisor import Stopped

    def on_signal(number: int, frame: object) -> None:
        raise Stopped(number)

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    except Stopped as stopped:
        raise typer.Exit(128 + stopped.number) from None


@contextmanager
def stopped_by_signals(message: str) -> Iterator[None]:
    """End with 128 + signal after Ctrl-C or SIGTERM, and leave no half of an output.

    Args:
        message: what the output has then.
    """
    from batchline.scoring.supervisor import Stopped

    def on_signal(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        yield
    except Stopped as stopped:
        typer.echo(f"stopped: {message}", err=True)
        sys.stderr.flush()
        raise typer.Exit(128 + stopped.number) from None


def _check_resume(
    sources: Sequence[str], folder: Path | None, output: str, *, resume: bool
) -> None:
    from batchline.file_errors import NotWritten
    from batchline.files.outputs import WORK_FOLDER
    from batchline.scoring.journal import abandoned

    if resume and (folder is None or any(_is_stream(source) for source in sources)):
        what = "standard input" if folder else f"the output {output}"
        raise typer.BadParameter(
            f"{what} cannot be continued, only files on this machine can", param_hint="--resume"
        )
    if not resume and folder and folder.name == WORK_FOLDER and abandoned(folder):
        raise NotWritten(
            f"the folder {output} has the rows of a run that was interrupted",
            hint="add --resume to continue it, or give another folder",
        )


def _once(sources: Sequence[str], output: str) -> str:
    """Return why no second process could make the run, or ""."""
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


def _how_to_continue(folder: Path | None) -> str:
    """Say how to continue the run that was interrupted, or remove what cannot be continued."""
    from batchline.scoring import journal

    saved = folder and journal.abandoned(folder)
    if not saved or not folder:
        return ""
    if not saved.parts:
        journal.remove(folder)
        return ""
    words = [each for each in sys.argv[1:] if each != "--resume"]
    command = shlex.join(["batchline", *words, "--resume"])
    return f"{count(saved.mark.rows, 'row')} are kept in {folder}. To continue, run:\n{command}"
