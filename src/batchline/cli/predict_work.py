"""The work of a process that predicts files. It imports modules that nearly every run needs."""

import mmap
import sys

from batchline.cli.output import error_text
from batchline.cli.predict_ask import WITH_ERRORS, Ask
from batchline.cli.predict_files import FileRun
from batchline.cli.predict_model import load
from batchline.cli.predict_request import from_json
from batchline.errors import BatchlineError
from batchline.machine import collect_garbage_rarely, keep_freed_memory, take_turns_often
from batchline.scoring.call_board import CallBoard
from batchline.scoring.supervisor import Attempt
from batchline.scoring.suspects import Case


def run_first(memory: mmap.mmap, request: bytes) -> int:
    """Run in the process that was started ahead."""
    ask = from_json(request)
    return run(ask, Attempt(0, CallBoard(ask.settings.worker_threads, memory), Case()))


def run(ask: Ask, attempt: Attempt) -> int:
    """Predict files, and return the exit code. An error is printed."""
    collect_garbage_rarely()
    keep_freed_memory()
    take_turns_often()
    try:
        with attempt.board.loading():
            file_run = run_of(ask, is_supervised=True)
        failed = file_run.execute(attempt)
    except BatchlineError as error:
        print(error_text(error), file=sys.stderr)
        return 1
    return WITH_ERRORS if failed else 0


def run_of(ask: Ask, *, is_supervised: bool = False) -> FileRun:
    """Return the run. `is_supervised` is as for `load`."""
    return FileRun(ask, *load(ask.model, ask.settings, is_supervised=is_supervised))
