"""The model of a run of `predict`, and the columns that it adds."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from batchline.cli.predict_ask import ModelAsk, RunSettings
from batchline.cli.runtime import runtime_of
from batchline.cli.wiring import configure_logging, connect
from batchline.errors import ConfigurationError
from batchline.ml.background import try_in_time
from batchline.registry.files import is_file
from batchline.registry.model_file import ModelFile
from batchline.scoring.columns import ERROR, MODEL, VERSION, Added, added_columns, named_columns
from batchline.scoring.model import ScoringModel, load_file, load_version

if TYPE_CHECKING:
    from batchline.db.database import Database


def load(ask: ModelAsk, settings: RunSettings) -> tuple[ScoringModel, Added]:
    """Load the model, and return it with the columns that it adds.

    Raises:
        BatchlineError: it cannot be loaded, or does not fit what is asked.
    """
    found = _load(ask, settings)
    found = found.with_signature(named_columns(found.predictor.signature, ask.features))
    extra = [ERROR] * ask.error_column + [MODEL, VERSION] * ask.model_columns
    added = added_columns(found.predictor, extra, ask.add)
    names = added.schema.names
    if unknown := next((name for name in ask.renamed if name not in names), None):
        raise ConfigurationError(
            f"--rename: expected OLD=NEW with one of {', '.join(names)}, got "
            f"{unknown}={ask.renamed[unknown]}",
            hint="name an added column",
        )
    return found, replace(added, renamed=ask.renamed)


def _load(ask: ModelAsk, settings: RunSettings) -> ScoringModel:
    runtime = runtime_of(settings)
    if is_file(ask.name):
        file = ModelFile.read(ask.name, ask.labels, ask.choices)
        return try_in_time(
            settings.model_timeout,
            lambda limit: load_file(file, ask.sample, replace(runtime, limit=limit)),
        )
    configure_logging(settings)
    return load_version(partial(_connect, settings.database_url), ask.name, runtime)


def _connect(database_url: str | None) -> "Database":
    from batchline.configurations import read_settings

    return connect(read_settings(database_url=database_url))
