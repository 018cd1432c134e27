"""The process that predicts files, and the one that watches over it."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from batchline import ahead
from batchline.cli.output import count
from batchline.cli.predict_ask import Ask
from batchline.cli.predict_signals import NOTHING_WRITTEN
from batchline.cli.predict_streams import is_stream, why_once
from batchline.redaction import location, urls

if TYPE_CHECKING:
    from batchline.errors import ConfigurationError
    from batchline.scoring.journal import Saved
    from batchline.scoring.supervisor import EndedInLoad


def run_in_child(ask: Ask, output: str) -> NoReturn:
    """Predict in child processes, and exit as the last one does.

    Raises:
        RunStopped: the child processes end without getting any further.
        ConfigurationError: the model ended the processes that load it.
    """
    from batchline.file_errors import RunStopped
    from batchline.files.outputs import work_folder
    from batchline.scoring.supervisor import EndedInLoad, Stopped

    folder = work_folder(output)
    _check_resume(ask.sources, folder, output, resume=ask.resume)
    earlier = _finished_parts(folder) if ask.resume else 0
    try:
        code = _predict(ask, output, folder)
    except Stopped as stopped:
        typer.echo(f"stopped: {_outcome(ask.sources, output, folder)}", err=True)
        raise typer.Exit(128 + stopped.number) from None
    except EndedInLoad as ended:
        raise _error_of_load(ask.model.name, ended) from None
    except RunStopped as error:
        error.hint = error.hint or _how_to_continue(folder)
        raise
    if code == 1 and (kept := _how_to_continue(folder)) and _finished_parts(folder) > earlier:
        typer.echo(kept, err=True)  # not if --resume did nothing: it would fail again
    sys.stderr.flush()
    os._exit(code)  # this process has nothing to undo, and leaving at once saves time


def _predict(ask: Ask, output: str, folder: Path | None) -> int:
    """Predict in one child process after the other, and return the exit code of the last one."""
    from batchline.cli.predict_request import to_json
    from batchline.scoring.supervisor import Attempt, Supervisor

    def work(attempt: Attempt) -> int:
        from batchline.cli.predict_work import run

        return run(ask, attempt)

    settings, first = ask.settings, ahead.take()
    supervisor = Supervisor(
        settings.worker_threads,
        settings.model_timeout,
        lambda: _finished_parts(folder),
        why_once(ask.sources, output),
        first.memory if first else None,
    )
    return supervisor.run(work, (lambda: first.give(to_json(ask))) if first else None)


def _saved(folder: Path | None) -> "Saved | None":
    """Return how far an interrupted run was, or None if there is none."""
    from batchline.scoring.journal import abandoned

    return abandoned(folder) if folder else None


def _finished_parts(folder: Path | None) -> int:
    saved = _saved(folder)
    return saved.parts if saved else 0


def _error_of_load(model: str, ended: "EndedInLoad") -> "ConfigurationError":
    from batchline.errors import ConfigurationError
    from batchline.registry.files import is_file

    where = shlex.quote(location(model))
    command = f"models check {where}" if is_file(model) else f"models add {where} FILE"
    remedy = "give it more memory" if ended.was_killed else "export the model again"
    return ConfigurationError(
        f"the model {location(model)} ended the process that loads it ({ended})",
        hint=f"{remedy}, then run: batchline {command}",
    )


def _check_resume(
    sources: Sequence[str], folder: Path | None, output: str, *, resume: bool
) -> None:
    from batchline.file_errors import NotWritten
    from batchline.files.outputs import WORK_FOLDER

    if resume and (folder is None or any(is_stream(source) for source in sources)):
        what = "standard input" if folder else f"the output {urls(output)}"
        raise typer.BadParameter(
            f"{what} cannot be continued, only files on this machine can. Leave --resume out",
            param_hint="--resume",
        )
    saved = _saved(folder)
    if resume:
        rows = count(saved.mark.rows, "row") if saved and saved.parts else ""
        found = f"an interrupted run with {rows} exists" if rows else "no interrupted run exists"
        typer.echo(f"{found}: {'continuing it' if rows else 'starting a new one'}", err=True)
        return
    if saved and folder and folder.name == WORK_FOLDER:
        raise NotWritten(
            f"the folder {output} has the rows of a run that was interrupted",
            hint="add --resume to continue it, or give another folder",
        )
    if saved and saved.parts and not any(is_stream(source) for source in sources):
        typer.echo(
            f"an interrupted run with {count(saved.mark.rows, 'row')} exists: add --resume to "
            "continue it. This run starts over",
            err=True,
        )


def _outcome(sources: Sequence[str], output: str, folder: Path | None) -> str:
    """Say what the output has after a run was stopped, and how to go on."""
    from batchline.scoring.journal import remove

    if is_stream(output):
        return "standard output has a part of the rows. Run the command again to get all of them"
    if any(is_stream(source) for source in sources):
        if folder:
            remove(folder)
        return f"{NOTHING_WRITTEN}. To be able to continue, save standard input in a file first"
    if folder is None:
        return f"{NOTHING_WRITTEN}. Run the command again: only a file on this machine is continued"
    return _how_to_continue(folder) or NOTHING_WRITTEN


def _how_to_continue(folder: Path | None) -> str:
    """Say how to continue the run that was interrupted, or remove what cannot be continued."""
    from batchline.scoring.journal import remove

    saved = _saved(folder)
    if not saved or not folder:
        return ""
    if not saved.parts:
        remove(folder)
        return ""
    words = [urls(each) for each in sys.argv[1:] if each != "--resume"]
    command = shlex.join(["batchline", *words, "--resume"])
    return f"{count(saved.mark.rows, 'row')} are kept in {folder}. To continue, run:\n{command}"
