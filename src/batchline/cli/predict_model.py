"""The model of a run of `predict`, and the columns that it adds."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from batchline.cli.predict_ask import ModelAsk, RunSettings
from batchline.cli.runtime import runtime_of
from batchline.cli.wiring import configure_logging, connect
from batchline.errors import ConfigurationError
from batchline.ml.background import try_in_time
from batchline.ml.examination.report import ModelReport
from batchline.ml.runtime import Runtime
from batchline.registry.files import is_file
from batchline.registry.model_file import ModelFile, Sample
from batchline.scoring.columns import ERROR, MODEL, VERSION, Added, added_columns, named_columns
from batchline.scoring.model import ScoringModel, load_file, load_version

if TYPE_CHECKING:
    from batchline.db.database import Database


def load(
    ask: ModelAsk, settings: RunSettings, *, is_supervised: bool = False
) -> tuple[ScoringModel, Added]:
    """Load the model, and return it with the columns that it adds.

    Args:
        is_supervised: whether another process says so if the model ends this one.

    Raises:
        BatchlineError: it cannot be loaded, or does not fit what is asked.
    """
    found = _load(ask, settings, is_supervised=is_supervised)
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


def _load(ask: ModelAsk, settings: RunSettings, *, is_supervised: bool) -> ScoringModel:
    runtime = runtime_of(settings)
    if is_file(ask.name):
        file = ModelFile.read(ask.name, ask.labels, ask.choices)
        examine = ModelFile.examine if is_supervised else _examine_with_probe
        return try_in_time(
            settings.model_timeout,
            lambda limit: load_file(
                file,
                ask.sample,
                limited := replace(runtime, limit=limit),
                partial(examine, runtime=limited),
            ),
        )
    configure_logging(settings)
    return load_version(partial(_connect, settings.database_url), ask.name, runtime)


def _examine_with_probe(file: ModelFile, sample: Sample, runtime: Runtime) -> ModelReport:
    from batchline.registry import probe  # few runs need it

    return probe.examine(file, sample, runtime)


def _connect(database_url: str | None) -> "Database":
    from batchline.configurations import read_settings

    return connect(read_settings(database_url=database_url))
