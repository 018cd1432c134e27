"""A version of a model, parsed in one place from its row in the database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchline.db.cruds import versions
from batchline.db.cruds.versions import VersionRow
from batchline.db.database import Database
from batchline.errors import ConfigurationError, SchemaNewer, UnknownModel, UnknownVersion
from batchline.ml.batching import Batching
from batchline.ml.signature import SIGNATURE_FORMAT, Signature

ADD_HINT = "add one: batchline models add NAME FILE"


def signature_text(signature: Signature, example: dict[str, Any] | None = None) -> str:
    """Return a signature as it is stored, with an example of data and its prediction."""
    return json.dumps({"format": SIGNATURE_FORMAT, **signature.to_json(), "example": example})


def parse_signature(text: str) -> dict[str, Any]:
    """Parse a stored signature.

    Raises:
        SchemaNewer: a newer Batchline has stored it.
    """
    stored: dict[str, Any] = json.loads(text)
    found = stored.get("format", 1)
    if found > SIGNATURE_FORMAT:
        raise SchemaNewer(
            f"a newer Batchline stored a signature in format {found}; "
            f"this one reads up to format {SIGNATURE_FORMAT}",
            hint="upgrade Batchline: git pull && make install",
        )
    return stored


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model. Only `active` can change after it was stored.

    `batching` is None for a version that Batchline stored before it kept model files. `location` is
    None if the database holds the file. `example` has `data`, its `prediction` and its `label`.
    """

    id: int
    name: str
    number: int
    active: bool
    sha256: str
    signature: Signature
    batching: Batching | None
    options: str | None
    allow_non_finite: bool
    notes: tuple[str, ...]
    size: int
    location: str | None
    created_at: datetime
    is_removed: bool = False
    format: int = SIGNATURE_FORMAT
    example: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"version {self.number} of the model {self.name}"

    @classmethod
    def parse(cls, row: VersionRow) -> "Version":
        """Parse what the database stores of a version."""
        batching = None if row.batching is None else Batching.from_json(json.loads(row.batching))
        stored = parse_signature(row.signature)
        return cls(
            id=row.id,
            name=row.name,
            number=row.version,
            active=bool(row.active),
            sha256=row.sha256,
            signature=Signature.from_json(stored),
            batching=batching,
            options=row.options,
            allow_non_finite=bool(row.allow_non_finite),
            notes=tuple(json.loads(row.notes or "[]")),
            size=row.size or 0,
            location=row.location,
            created_at=row.created_at,
            is_removed=row.removed_at is not None,
            format=stored.get("format", 1),
            example=stored.get("example"),
        )


def check_not_removed(version: Version) -> None:
    """Check that a version can still predict.

    Raises:
        ConfigurationError: its file was removed.
    """
    if version.is_removed:
        raise is_removed(version)


def is_removed(version: Version) -> ConfigurationError:
    """Return the error about a version that cannot predict any more."""
    return ConfigurationError(
        f"the file of {version} was removed",
        hint=f"add it again: batchline models add {version.name} FILE",
    )


class KnownVersions:
    """The versions in the database, each read and parsed once, since a version never changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._parsed: dict[int, Version] = {}

    def active(self) -> dict[str, Version]:
        """Return the active version of each model, by the model's name."""
        with self._database.read() as connection:
            ids = versions.active_ids(connection)
            for model_id in ids.values():
                if model_id not in self._parsed:
                    row = versions.get_version(connection, model_id)
                    self._parsed[model_id] = Version.parse(row)
        return {name: self._parsed[model_id] for name, model_id in ids.items()}

    def get(self, model_id: int) -> Version:
        """Return the version with this id."""
        if model_id not in self._parsed:
            with self._database.read() as connection:
                row = versions.get_version(connection, model_id)
            self._parsed[model_id] = Version.parse(row)
        return self._parsed[model_id]


def read_versions(database: Database, name: str | None = None) -> list[Version]:
    """Return all versions, or those of one model, ordered by name and number."""
    with database.read() as connection:
        return list(map(Version.parse, versions.all_versions(connection, name)))


def read_model(database: Database, name: str) -> Sequence[Version]:
    """Return the versions of one model, of which one is active.

    Raises:
        UnknownModel: no model has this name.
    """
    found = [] if "\0" in name else read_versions(database, name)  # PostgreSQL takes no NUL
    if not any(each.active for each in found):
        with database.read() as connection:
            names = sorted(versions.active_ids(connection))
        raise UnknownModel(
            f"no model has the name {name[:80]!r}",
            hint=f"use one of these models: {', '.join(names)}" if names else ADD_HINT,
        )
    return found


def read_version(database: Database, name: str, number: int | None) -> Version:
    """Return a version of a model by its number, or the active one if `number` is None.

    Raises:
        UnknownModel: no model has this name.
        UnknownVersion: the model has no such version.
    """
    found = read_model(database, name)
    for each in found:
        if each.number == number or (number is None and each.active):
            return each
    numbers = ", ".join(str(each.number) for each in found)
    raise UnknownVersion(
        f"the model {name} has no version {number}", hint=f"use one of its versions: {numbers}"
    )
