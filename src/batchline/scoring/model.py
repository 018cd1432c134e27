"""The model of a run: an ONNX file, or a version from the registry."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchline.errors import BatchlineError, ConfigurationError, UnknownModel
from batchline.ml.content import ModelContent
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.signature import Signature
from batchline.registry.examined import examine_once
from batchline.registry.files import read_content
from batchline.registry.model_file import Examine, ModelFile, Sample

if TYPE_CHECKING:
    from batchline.db.database import Database
    from batchline.registry.version import Version

FILE_DIGITS = 12
"""Digits of a file's sha256 that are its version."""


@dataclass(frozen=True, slots=True)
class ScoringModel:
    """A loaded model, with what the columns `model` and `version` say.

    Args:
        content: reads the bytes of the model again, in any process.
    """

    predictor: Predictor
    name: str
    version: str
    sha256: str
    content: Callable[[], ModelContent]

    def with_signature(self, signature: Signature) -> "ScoringModel":
        return replace(self, predictor=replace(self.predictor, signature=signature))


def load_file(file: ModelFile, sample: Sample, runtime: Runtime, examine: Examine) -> ScoringModel:
    """Validate and load an ONNX file.

    The time limit of the runtime is for the trial run and for loading. Afterwards, each way to run
    a model has a limit of its own.

    Raises:
        ConfigurationError: it cannot be served.
    """
    found = examine_once(file, sample, runtime, examine)
    predictor = Predictor.load(
        file.content,
        f"the model file {file.location}",
        found.signature,
        found.batching,
        runtime=runtime,
        allow_non_finite=file.choices.allow_non_finite,
    ).limited(None)
    content = partial(read_content, file.location)
    version = file.sha256[:FILE_DIGITS]
    return ScoringModel(predictor, Path(file.location).stem, version, file.sha256, content)


def load_version(
    open_database: "Callable[[], Database]", model: str, runtime: Runtime
) -> ScoringModel:
    """Load `NAME` or `NAME@VERSION` from the registry.

    Raises:
        UnknownModel, UnknownVersion: there is no such version.
        ModelUnavailable: its file cannot be loaded.
    """
    # Importing what speaks to databases takes a third of a second, which a file does not need.
    from batchline.registry.loaded import ModelCache
    from batchline.registry.version import read_version

    name, _, number = model.partition("@")
    if number and not (number.isascii() and number.isdigit()):
        raise ConfigurationError(
            f"the version in {model[:80]!r} must be a number",
            hint=f"use --model {name[:60]} for the active version, or {name[:60]}@1 for the first",
        )
    try:
        database = open_database()
    except BatchlineError as error:
        error.detail = (
            f"there is no file {model[:200]}, and no database with models: {error.detail}"
        )
        error.hint = f"{_file_hint(model)}. For a model of the database, {error.hint}"
        raise
    try:
        version = read_version(database, name, int(number) if number else None)
        predictor = ModelCache(database, runtime, max_bytes=1).predictor(version)
    except UnknownModel as error:
        error.detail = f"there is no file {model[:200]}, and {error.detail} in {database.url}"
        error.hint = f"{_file_hint(model)}, or {error.hint}"
        raise
    finally:
        database.close()
    content = partial(_stored_content, open_database, version)
    return ScoringModel(predictor, name, str(version.number), version.sha256, content)


def _file_hint(model: str) -> str:
    beside = Path(f"{model}.onnx")
    return f"give the file {beside}" if beside.exists() else "give the path of an ONNX file"


def _stored_content(open_database: "Callable[[], Database]", version: "Version") -> ModelContent:
    from batchline.registry.content import read_version_content

    database = open_database()
    try:
        return read_version_content(database, version)
    finally:
        database.close()
