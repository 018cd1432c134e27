"""The options of `predict`, as each process of a run can read them.

No module that reads options is imported here or by what predicts. The process that predicts starts
while they are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.ml.examination.report import Choices
    from batchline.scoring.error_limit import ErrorLimit
    from batchline.scoring.ray_options import RayOptions

WITH_ERRORS = 3
"""The exit code if some rows have errors."""


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, without the library that reads them.

    Args:
        database_url: as the option gave it, or None.
    """

    worker_threads: int
    model_timeout: float
    model_threads: int
    graph_optimization: str
    providers: tuple[str, ...]
    libraries: tuple[str, ...]
    log_level: str
    log_format: str
    database_url: str | None

    @classmethod
    def of(cls, settings: "Settings", database_url: str | None) -> Self:
        return cls(
            settings.worker_threads,
            settings.model_timeout,
            settings.model_threads,
            settings.graph_optimization,
            settings.providers,
            settings.libraries,
            settings.log_level,
            settings.log_format,
            database_url,
        )


@dataclass(frozen=True)
class ModelAsk:
    """The model, and what it adds to the rows.

    Args:
        name: a file or a name in the database.
        labels, sample: a label file, and rows for the validation.
        features: the columns with the values of a row, or nothing.
        add: the columns of the prediction for the output. None: all.
        renamed: own name → name in the output, of added columns.
    """

    name: str
    labels: Path | None
    sample: tuple[str, bytes] | None
    choices: "Choices"
    features: tuple[str, ...]
    add: list[str] | None
    renamed: Mapping[str, str]
    error_column: bool
    model_columns: bool


@dataclass(frozen=True)
class Ask:
    """A request for a run with files on both sides or with SQL.

    Args:
        keep: the columns of the input for the output. None: all.
        limit: how many rows may have errors.
    """

    settings: RunSettings
    sources: list[str]
    output: str | None
    model: ModelAsk
    reading: "ReadOptions"
    writing: "WriteOptions"
    keep: list[str] | None
    limit: "ErrorLimit"
    as_json: bool
    resume: bool
    only_errors: str | None
    ray: "RayOptions | None"
