"""Bounds for the trial run of a new model: a time limit, and Ctrl-C."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace

import typer

from batchline.cli.wiring import runtime_of
from batchline.configurations import Settings
from batchline.errors import BatchlineError, ConfigurationError
from batchline.ml.session import Runtime
from batchline.ml.time_limit import TimeLimit


class TrialLimit(TimeLimit):
    """The time for one call of a model that is examined. The first late call ends the trial run."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, _end_process)

    def error(self) -> ConfigurationError:
        """Return an error that the examination does not take for one about the rows it tried."""
        return ConfigurationError(
            f"the trial run took longer than {self.seconds:g} s (MODEL_TIMEOUT)",
            hint="give rows that the model predicts sooner with --sample ROWS.json, or raise "
            "MODEL_TIMEOUT",
        )


@contextmanager
def trial_runtime(settings: Settings) -> Iterator[Runtime]:
    """Yield the ONNX Runtime options of the settings, with a time limit for a trial run.

    Ctrl-C ends the process until then. A handler in Python would wait for the end of the call of
    the model, so another thread reads which signal came.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_exit_at_signals, args=(reading,), daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writing)
    try:
        yield replace(runtime_of(settings), limit=TrialLimit(settings.model_timeout))
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()


def _exit_at_signals(reading: int) -> None:
    """Exit when one of these signals can be read. Return at the end of the pipe."""
    while number := os.read(reading, 1):
        if number[0] in (signal.SIGINT, signal.SIGTERM):
            os.write(2, b"stopped: nothing was written\n")
            os._exit(128 + number[0])
    os.close(reading)


def _end_process(threads: Set[int], error: BatchlineError) -> None:
    """Exit, for the main thread is in an operator of the model that nothing else can end."""
    typer.echo(f"error: {error.detail}\nhint: {error.hint}", err=True)
    sys.stderr.flush()
    os._exit(1)
