"""Bounds for the trial run of a new model: a time limit."""

import os
import sys
from collections.abc import Set
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


def trial_runtime(settings: Settings) -> Runtime:
    """Return the ONNX Runtime options of the settings, with a time limit for a trial run."""
    return replace(runtime_of(settings), limit=TrialLimit(settings.model_timeout))


def _end_process(threads: Set[int], error: BatchlineError) -> None:
    """Exit, for the main thread is in an operator of the model that nothing else can end."""
    typer.echo(f"error: {error.detail}\nhint: {error.hint}", err=True)
    sys.stderr.flush()
    os._exit(1)
