"""Models as data: adding versions to the database."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from batchline.constants import MODEL_STORED_MAX_BYTES
from batchline.db.cruds import claim_lock, versions
from batchline.db.database import Database
from batchline.db.models import Record
from batchline.errors import ConfigurationError
from batchline.ml.examination.labels import Labels, read_labels
from batchline.ml.examination.report import ModelReport, examine
from batchline.ml.session import Runtime
from batchline.registry.files import is_url, read_file

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a user brings as a new version of a model."""

    location: str
    content: bytes
    labels: Labels = None
    allow_non_finite: bool = False

    @classmethod
    def read(
        cls, location: str, labels: Path | None = None, *, allow_non_finite: bool = False
    ) -> "ModelFile":
        """Read the model file, by path or URL, and its label file.

        Raises:
            ConfigurationError: one of them cannot be read.
        """
        found = read_labels(labels) if labels else None
        return cls(location, read_file(location), found, allow_non_finite)

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def is_stored(self) -> bool:
        """Whether the database keeps the content; else jobs read it where it lies."""
        return len(self.content) <= MODEL_STORED_MAX_BYTES

    def is_version(self, record: Record) -> bool:
        """Whether this is that version: the same bytes, labels and options, as far as is known."""
        return bool(
            record.sha256 == self.sha256
            and record.batching is not None
            and record.label_file == _labels_json(self.labels)
            and bool(record.allow_non_finite) == self.allow_non_finite
        )

    def examine(self, sample: tuple[str, bytes] | None, runtime: Runtime | None) -> ModelReport:
        """What the model turns out to be.

        Raises:
            ConfigurationError: it cannot be served.
        """
        name = f"the model file {self.location}"
        return examine(self.content, name, labels=self.labels, sample=sample, runtime=runtime)


def check_name(name: str) -> None:
    """A model's name goes into URLs, files and SQL.

    Raises:
        ConfigurationError: it has characters that do not fit there, or too many.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH or not NAME_CHARACTERS.issuperset(name):
        raise ConfigurationError(
            f"{name[:80]!r} cannot be the name of a model",
            hint=f"use up to {MAX_NAME_LENGTH} letters, digits, dots, dashes and underscores",
        )


def find(database: Database, name: str, file: ModelFile) -> Record | None:
    """The version that this file is already, or None."""
    with database.read() as connection:
        return _find(connection, name, file)


def _find(connection: Connection, name: str, file: ModelFile) -> Record | None:
    known = versions.all_versions(connection, name)
    return next((record for record in known if file.is_version(record)), None)


def add(
    database: Database, name: str, file: ModelFile, found: ModelReport, *, active: bool
) -> Record:
    """Store the file, and what was found, as a version; of two that do so at once, one does."""

    def work(connection: Connection) -> Record:
        claim_lock.acquire_claim_lock(connection)
        record = _find(connection, name, file)
        if record is None:
            if file.is_stored:
                versions.store_file(connection, file.sha256, file.content)
            versions.add_version(connection, name, _values(file, found))
            record = _find(connection, name, file)
            assert record is not None
        if active or not versions.has_active(connection, name):
            versions.activate(connection, name, record.id)
        return _find(connection, name, file) or record

    return database.transaction(work)


def _values(file: ModelFile, found: ModelReport) -> dict[str, Any]:
    location = file.location if is_url(file.location) else str(Path(file.location).absolute())
    return {
        "sha256": file.sha256,
        "signature": json.dumps(found.signature.to_json()),
        "label_file": _labels_json(file.labels),
        "allow_non_finite": file.allow_non_finite,
        "batching": json.dumps(found.batching.to_json()),
        "notes": json.dumps(found.notes),
        "size": len(file.content),
        "location": None if file.is_stored else location,
    }


def _labels_json(labels: Labels) -> str | None:
    return None if labels is None else json.dumps(labels)


def publish_default(database: Database, name: str, location: Path, labels: Path | None) -> None:
    """Let this file be the model's active version, which is examined only where it is new.

    Raises:
        ConfigurationError: the file cannot be served.
    """
    file = ModelFile.read(str(location), labels)
    known = find(database, name, file)
    if known is None:
        add(database, name, file, file.examine(None, None), active=True)
    elif not known.active:
        database.transaction(lambda connection: versions.activate(connection, name, known.id))
