"""Add versions of models to the database."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchline import redaction
from batchline.db import backfills
from batchline.db.cruds import versions
from batchline.db.cruds.versions import NewVersion
from batchline.db.database import Database
from batchline.errors import ConfigurationError
from batchline.ml.examination.label_file import Names
from batchline.ml.examination.report import ModelReport
from batchline.registry.files import is_url
from batchline.registry.model_file import ModelFile
from batchline.registry.version import (
    Version,
    check_not_removed,
    is_removed,
    read_model,
    read_versions,
    signature_text,
)

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
MAX_NAME_LENGTH = 64


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


def check_location(file: ModelFile) -> None:
    """Check that the URL of a file that the database does not hold can be stored and shown.

    Raises:
        ConfigurationError: the URL has a user or a query, which may be secret.
    """
    if not file.is_stored and is_url(file.location) and redaction.has_secrets(file.location):
        raise ConfigurationError(
            f"the model file {redaction.location(file.location)} is too large for the database, "
            "and its URL, which each job would read, has a user or a query that may be a secret",
            hint="give a URL without them, and give each job credentials in its environment",
        )


def is_version(file: ModelFile, version: Version) -> bool:
    """Whether the file is that version: the same bytes and options, as far as is known."""
    return (
        not version.is_removed
        and version.sha256 == file.sha256
        and version.batching is not None
        and version.options == file.options
    )


def find(database: Database, name: str, file: ModelFile) -> Version | None:
    """Return the version that this file is already, or None."""
    return next((each for each in read_versions(database, name) if is_version(file, each)), None)


def restore(database: Database, version: Version, file: ModelFile, actor: str) -> bool:
    """Store the file of a version again if the database has lost or damaged it.

    Return whether it had.
    """
    if version.location is not None or not file.is_stored:
        return False
    content = file.content.pack()
    with database.read() as connection:  # no job waits for it, and nearly always it is enough
        if versions.read_file(connection, version.sha256) == content:
            return False
    return database.transaction(lambda c: versions.restore_file(c, version.id, content, actor))


def add(
    database: Database,
    name: str,
    file: ModelFile,
    found: ModelReport,
    *,
    active: bool,
    actor: str,
) -> Version:
    """Store the file and the report as a version, and return it."""
    new = to_new_version(file, found)
    content = file.content.pack() if file.is_stored else None
    return Version.parse(
        database.transaction(lambda c: versions.add(c, name, new, content, actor, active=active))
    )


def activate(database: Database, version: Version, actor: str) -> None:
    """Predict with this version from now on.

    Raises:
        ConfigurationError: its file was removed.
    """
    name, model_id = version.name, version.id
    if not database.transaction(lambda c: versions.activate(c, name, model_id, actor)):
        raise is_removed(version)


def remove(database: Database, version: Version, actor: str) -> None:
    """Delete the file of a version. Its predictions are kept and still name it.

    Raises:
        ConfigurationError: the version is active, was removed before, or a backfill needs it.
    """
    check_not_removed(version)
    if database.transaction(lambda c: versions.remove(c, version.id, actor)):
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


def prune(database: Database, name: str, keep: int, actor: str) -> list[Version]:
    """Remove all versions of a model but the newest `keep` and the active one. Return them."""
    present = [each for each in read_model(database, name) if not each.is_removed]
    old = [each for each in present[: max(0, len(present) - keep)] if not each.active]
    for version in old:
        remove(database, version, actor)
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


@dataclass(frozen=True, slots=True)
class Replacement:
    """`new` became the active version of a model instead of `old`."""

    old: Version
    new: Version


def publish_default(
    database: Database,
    name: str,
    location: Path,
    labels: Path | None,
    examine: Callable[[ModelFile], ModelReport],
    actor: str,
) -> Replacement | None:
    """Make this file the model's active version.

    Return what it replaced, or None if it was active before or is the first version.

    Args:
        examine: called if the file is new.

    Raises:
        ConfigurationError: the file cannot be served.
    """
    file = ModelFile.read(str(location), labels)
    stored = read_versions(database, name)
    known = next((each for each in stored if is_version(file, each)), None)
    if known is None:
        known = add(database, name, file, examine(file), active=True, actor=actor)
    elif not known.active:
        activate(database, known, actor)
    old = next((each for each in stored if each.active), known)
    return None if old.id == known.id else Replacement(old, known)
