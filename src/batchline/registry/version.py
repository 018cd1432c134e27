"""A version of a model, parsed in one place from its row in the database."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchline.db.cruds import versions
from batchline.db.cruds.versions import VersionRow
from batchline.db.database import Database
from batchline.errors import (
    ConfigurationError,
    ModelUnavailable,
    SchemaNewer,
    UnknownModel,
    UnknownVersion,
)
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
        """Parse what the database stores of a version.

        Raises:
            ModelUnavailable: an SQL client has stored something else.
            SchemaNewer: a newer Batchline has stored it.
        """
        try:
            return cls._parse(row)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ModelUnavailable(
                f"the row {row.id} of the table models is not one that Batchline has stored: "
                f"{type(error).__name__}: {error}",
                hint="delete this row, and add the model again with `batchline models add`",
            ) from error

    @classmethod
    def _parse(cls, row: VersionRow) -> "Version":
        if not isinstance(row.name, str) or not isinstance(row.version, int):
            raise TypeError("the name or the number of the version has the wrong type")
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
            size=int(row.size or 0),
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
        self._unreadable: set[int] = set()

    def active(self) -> dict[str, Version]:
        """Return the active version of each model, by the model's name.

        A version that cannot be read is left out, so that it does not affect the others.
        """
        with self._database.read() as connection:
            ids = versions.active_ids(connection)
            for model_id in ids.values():
                if model_id not in self._parsed:
                    self._read(connection, model_id)
        found = (self._parsed[i] for i in ids.values() if i in self._parsed)
        return {each.name: each for each in found}

    def _read(self, connection: Any, model_id: int) -> None:
        try:
            self._parsed[model_id] = Version.parse(versions.get_version(connection, model_id))
        except ModelUnavailable as error:
            if model_id not in self._unreadable:
                self._unreadable.add(model_id)
                log_unreadable(error)

    def get(self, model_id: int) -> Version:
        """Return the version with this id."""
        if model_id not in self._parsed:
            with self._database.read() as connection:
                row = versions.get_version(connection, model_id)
            self._parsed[model_id] = Version.parse(row)
        return self._parsed[model_id]


def log_unreadable(error: ModelUnavailable) -> None:
    import structlog  # slow to import, and rarely needed

    structlog.get_logger(__name__).error(
        "version cannot be read", detail=error.detail, hint=error.hint
    )


def read_versions(
    database: Database,
    name: str | None = None,
    on_unreadable: Callable[[ModelUnavailable], object] = log_unreadable,
) -> list[Version]:
    """Return all versions, or those of one model, ordered by name and number.

    Args:
        on_unreadable: called for each version that is left out, since it cannot be read.
    """
    with database.read() as connection:
        rows = versions.all_versions(connection, name)
    found: list[Version] = []
    for row in rows:
        try:
            found.append(Version.parse(row))
        except ModelUnavailable as error:
            on_unreadable(error)
    return found


def read_model(database: Database, name: str) -> Sequence[Version]:
    """Return the versions of one model, of which one is active.

    Raises:
        UnknownModel: no model has this name.
    """
    found = [] if "\0" in name else read_versions(database, name)  # PostgreSQL takes no NUL
    if not any(each.active for each in found):
        names = sorted(KnownVersions(database).active())
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
