"""Add versions of models to the database."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from batchline.constants import MODEL_STORED_MAX_BYTES
from batchline.db import backfills
from batchline.db.cruds import versions
from batchline.db.cruds.versions import NewVersion
from batchline.db.database import Database
from batchline.errors import ConfigurationError
from batchline.ml.content import ModelContent
from batchline.ml.examination.label_file import Names, read_labels
from batchline.ml.examination.report import Choices, ModelReport, examine
from batchline.ml.session import Runtime
from batchline.registry.files import is_url, read_content
from batchline.registry.mlflow import is_mlflow, read_mlflow
from batchline.registry.version import (
    SIGNATURE_FORMAT,
    Version,
    read_model,
    read_versions,
    signature_text,
)

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that a user adds as a version, with its options."""

    location: str
    content: ModelContent
    choices: Choices = field(default_factory=Choices)

    @classmethod
    def read(
        cls, location: str, labels: Path | None = None, choices: Choices | None = None
    ) -> "ModelFile":
        """Read the model file, by path or URL, the files that it names, and its label file.

        `location` may also be the folder of an MLflow model, or its file `MLmodel`.

        Raises:
            ConfigurationError: one of the files cannot be read.
        """
        choices = choices or Choices()
        if labels is not None:
            choices = replace(choices, labels=read_labels(labels))
        if is_mlflow(location):
            packaged = read_mlflow(location)
            location, choices = packaged.location, replace(choices, columns=packaged.columns)
        return cls(location, read_content(location), choices)

    @property
    def sha256(self) -> str:
        return self.content.sha256

    @property
    def is_stored(self) -> bool:
        """Whether the database keeps the content. Otherwise jobs read it from `location`."""
        return self.content.size <= MODEL_STORED_MAX_BYTES

    def is_version(self, version: Version) -> bool:
        """Whether this is that version: the same bytes and options, as far as is known."""
        return (
            not version.is_removed
            and version.sha256 == self.sha256
            and version.batching is not None
            and version.options == self.options
        )

    @property
    def options(self) -> str:
        """Everything beside the file that changes its predictions, as JSON with sorted keys."""
        return options_text(self.choices)

    def examine(self, sample: tuple[str, bytes] | None, runtime: Runtime | None) -> ModelReport:
        """Find out the signature and the batching mode of the model.

        Raises:
            ConfigurationError: the model cannot be served.
        """
        name = f"the model file {self.location}"
        return examine(self.content, name, self.choices, sample=sample, runtime=runtime)


def options_text(choices: Choices) -> str:
    """Return what a user chose as JSON, with the format of the signature that comes of it."""
    given = {name: value for name, value in asdict(choices).items() if value}
    return json.dumps(given | {"format": SIGNATURE_FORMAT}, sort_keys=True)


def read_choices(options: str | None) -> Choices:
    """Return what a user chose, from the options of a version."""
    stored = json.loads(options or "{}")
    names = {each.name for each in fields(Choices)}
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return Choices(**{name: value for name, value in (stored | lists).items() if name in names})


def check_name(name: str) -> None:
    """Check a model's name, which appears in URLs, files and SQL.

    Raises:
        ConfigurationError: the name has invalid characters, or is too long.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH or not NAME_CHARACTERS.issuperset(name):
        raise ConfigurationError(
            f"{name[:80]!r} is not a valid name for a model",
            hint=f"use up to {MAX_NAME_LENGTH} letters, digits, dots, dashes and underscores",
        )


def find(database: Database, name: str, file: ModelFile) -> Version | None:
    """Return the version that this file is already, or None."""
    return next((each for each in read_versions(database, name) if file.is_version(each)), None)


def add(
    database: Database, name: str, file: ModelFile, found: ModelReport, *, active: bool
) -> Version:
    """Store the file and the report as a version, and return it."""
    new = to_new_version(file, found)
    content = file.content.pack() if file.is_stored else None
    return Version.parse(
        database.transaction(lambda c: versions.add(c, name, new, content, active=active))
    )


def activate(database: Database, version: Version) -> None:
    """Predict with this version from now on.

    Raises:
        ConfigurationError: its file was removed.
    """
    if not database.transaction(lambda c: versions.activate(c, version.name, version.id)):
        raise _is_removed(version)


def check_not_removed(version: Version) -> None:
    """Check that a version can still predict.

    Raises:
        ConfigurationError: its file was removed.
    """
    if version.is_removed:
        raise _is_removed(version)


def _is_removed(version: Version) -> ConfigurationError:
    return ConfigurationError(
        f"the file of {version} was removed",
        hint=f"add it again: batchline models add {version.name} FILE",
    )


def remove(database: Database, version: Version) -> None:
    """Delete the file of a version. Its predictions are kept and still name it.

    Raises:
        ConfigurationError: the version is active, was removed before, or a backfill needs it.
    """
    check_not_removed(version)
    if database.transaction(lambda c: versions.remove(c, version.id)):
        return
    with database.read() as connection:
        needed = backfills.has_unfinished(connection, version.id)
    if needed:
        raise ConfigurationError(
            f"a backfill predicts with {version}, so it cannot be removed",
            hint="run `batchline job --once` to finish the backfill",
        )
    raise ConfigurationError(
        f"{version} is active, so it cannot be removed",
        hint=f"activate another version first: batchline models activate {version.name} NUMBER",
    )


def prune(database: Database, name: str, keep: int) -> list[Version]:
    """Remove all versions of a model but the newest `keep` and the active one. Return them."""
    present = [each for each in read_model(database, name) if not each.is_removed]
    old = [each for each in present[: max(0, len(present) - keep)] if not each.active]
    for version in old:
        remove(database, version)
    return old


def to_new_version(file: ModelFile, found: ModelReport) -> NewVersion:
    """Return what is stored of this file and its report."""
    location = file.location if is_url(file.location) else str(Path(file.location).absolute())
    return NewVersion(
        sha256=file.sha256,
        signature=signature_text(found.signature, found.example),
        options=file.options,
        label_file=_labels_json(file.choices.labels),
        allow_non_finite=file.choices.allow_non_finite,
        batching=json.dumps(found.batching.to_json()),
        notes=json.dumps(found.notes),
        size=file.content.size,
        location=None if file.is_stored else location,
    )


def _labels_json(labels: Names | None) -> str | None:
    return None if labels is None else json.dumps(labels)


def publish_default(database: Database, name: str, location: Path, labels: Path | None) -> None:
    """Make this file the model's active version. It is examined only if it is new.

    Raises:
        ConfigurationError: the file cannot be served.
    """
    file = ModelFile.read(str(location), labels)
    known = find(database, name, file)
    if known is None:
        add(database, name, file, file.examine(None, None), active=True)
    elif not known.active:
        activate(database, known)
