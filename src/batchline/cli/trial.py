"""Models that are tried in a process of their own, which they may end."""

from typing import TYPE_CHECKING

from batchline.cli.runtime import runtime_of
from batchline.configurations import Settings
from batchline.ml.examination.report import ModelReport
from batchline.registry import probe
from batchline.registry.model_file import ModelFile, Sample

if TYPE_CHECKING:
    from batchline.db.database import Database
    from batchline.registry.version import Version


def examined(settings: Settings, file: ModelFile, sample: Sample = None) -> ModelReport:
    """Try a model for `MODEL_TIMEOUT` seconds per call.

    Raises:
        ConfigurationError: the model cannot be served.
    """
    return probe.examine(file, sample, runtime_of(settings))


def load(
    process: probe.Probe, database: "Database", version: "Version", settings: Settings
) -> None:
    """Load a version in the process, to find out whether that is possible.

    Raises:
        ModelUnavailable: it is not.
    """
    from batchline.registry.content import batching_of, read_version_content

    batching, content = batching_of(version), read_version_content(database, version)
    process.load(version, batching, content, runtime_of(settings))
