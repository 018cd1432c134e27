"""The trial run of a new model, which Ctrl-C ends at once."""

import os
import signal
import sys
from dataclasses import replace

import typer

from batchline.cli.runtime import runtime_of
from batchline.configurations import Settings
from batchline.ml.background import try_in_time
from batchline.ml.examination.report import ModelReport
from batchline.registry.model_file import ModelFile


def examined(
    settings: Settings, file: ModelFile, sample: tuple[str, bytes] | None = None
) -> ModelReport:
    """Try a model for `MODEL_TIMEOUT` seconds per call.

    Raises:
        ConfigurationError: the model cannot be served.
    """
    runtime = runtime_of(settings)
    try:
        return try_in_time(
            settings.model_timeout,
            lambda limit: file.examine(sample, replace(runtime, limit=limit)),
        )
    except KeyboardInterrupt:
        typer.echo("stopped: nothing was written", err=True)
        sys.stderr.flush()
        os._exit(128 + signal.SIGINT)  # a call of the model would go on while Python ends
