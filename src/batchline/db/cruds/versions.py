"""Statements about the versions of models, and the files that are stored with them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, true, update

from batchline.constants import FINISHED, MODEL_PART_BYTES, NO_VERSION
from batchline.db.cruds import audit
from batchline.db.cruds.claim_lock import acquire_claim_lock
from batchline.db.dialects import packets
from batchline.db.dialects.inserts import insert_many, insert_one
from batchline.db.dialects.types import same_text, utc_now
from batchline.db.models import Record, backfills, items, model_files, models, predictions


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is stored of a version. The fields are columns of `models`.

    `options` is JSON with sorted keys: everything beside the file that changes its predictions.
    """

    sha256: str
    signature: str
    options: str | None
    label_file: str | None
    allow_non_finite: bool | None
    batching: str | None
    notes: str | None
    size: int | None
    location: str | None

    def is_same_as(self, other: "NewVersion") -> bool:
        """Whether both have the same file and options, so that they predict the same."""
        known = self.batching is not None and other.batching is not None
        return known and (self.sha256, self.options) == (other.sha256, other.options)


@dataclass(frozen=True, slots=True)
class VersionRow(NewVersion):
    """A row of `models`."""

    id: int
    name: str
    version: int
    active: bool | None
    created_at: datetime
    removed_at: datetime | None


def _row(record: Record) -> VersionRow:
    return VersionRow(**record._mapping)


def active_ids(connection: Connection) -> dict[str, int]:
    """Return the id of the active version of each model, by the model's name."""
    query = select(models.c.name, models.c.id).where(models.c.active)
    return {row.name: row.id for row in connection.execute(query)}


def all_versions(connection: Connection, name: str | None = None) -> list[VersionRow]:
    """Return all versions, or those of one model, ordered by name and version."""
    query = select(models).order_by(models.c.name, models.c.version)
    if name is not None:
        query = query.where(models.c.name == name)
    return list(map(_row, connection.execute(query)))


def get_version(connection: Connection, model_id: int) -> VersionRow:
    """Return the version with this id."""
    return _row(connection.execute(select(models).where(models.c.id == model_id)).one())


def has_active(connection: Connection, name: str) -> bool:
    """Whether a model of this name has an active version."""
    query = select(models.c.id).where(models.c.name == name, models.c.active)
    return connection.execute(query.limit(1)).first() is not None


def active_version_of(connection: Connection, item_id: int) -> int:
    """Return the id of the version that would predict an item, or `NO_VERSION`."""
    query = select(models.c.id).join(items, same_text(items.c.model, models.c.name))
    found = connection.execute(query.where(items.c.id == item_id, models.c.active)).scalar()
    return NO_VERSION if found is None else int(found)


def models_of(connection: Connection, item_ids: Sequence[int]) -> Sequence[str]:
    """Return the model of each of a few items, without those that have no active version."""
    query = select(models.c.name).join(items, same_text(items.c.model, models.c.name))
    return (
        connection.execute(query.where(items.c.id.in_(item_ids), models.c.active)).scalars().all()
    )


def add(
    connection: Connection,
    name: str,
    new: NewVersion,
    content: bytes | None,
    actor: str,
    *,
    active: bool,
) -> VersionRow:
    """Store a version and return it. If two callers store the same one at once, it is stored once.

    Args:
        content: the model's file, or None if each job reads it from `location`.
        active: whether to activate it. The first version of a model is always activated.
    """
    acquire_claim_lock(connection)
    model_id = _find(connection, name, new)
    if model_id is None:
        if content is not None:
            store_file(connection, new.sha256, content)
        newest = select(func.max(models.c.version)).where(models.c.name == name)
        number = (connection.execute(newest).scalar() or 0) + 1
        values = asdict(new)
        model_id = insert_one(connection, models, name=name, version=number, active=None, **values)
        detail = {"version": number, "sha256": new.sha256}
        audit.record(connection, actor, "models.add", name, detail)
    if active or not has_active(connection, name):
        activate(connection, name, model_id, actor)
    return get_version(connection, model_id)


def _find(connection: Connection, name: str, new: NewVersion) -> int | None:
    known = all_versions(connection, name)
    same = (row.id for row in known if row.removed_at is None and row.is_same_as(new))
    return next(same, None)


def renew(connection: Connection, model_id: int, new: NewVersion, actor: str) -> None:
    """Store what a newer Batchline found out about a version, which predicts the same as before."""
    connection.execute(update(models).where(models.c.id == model_id).values(asdict(new)))
    _record(connection, actor, "models.renew", model_id)


def activate(connection: Connection, name: str, model_id: int, actor: str) -> bool:
    """Let this version predict the items that are read from now on, unless it was removed.

    Return whether it is active.
    """
    acquire_claim_lock(connection)  # of two at once, the second would meet the unique index
    found = get_version(connection, model_id)
    if found.removed_at is not None:
        return False
    if not found.active:
        _record(connection, actor, "models.activate", model_id)
    # That index allows one active version of a name, so the other one is deactivated first.
    others = models.c.name == name, models.c.active, models.c.id != model_id
    connection.execute(update(models).where(*others).values(active=None))
    connection.execute(update(models).where(models.c.id == model_id).values(active=True))
    return True


def is_removed(connection: Connection, model_id: int) -> bool:
    """Whether the file of this version was removed."""
    query = select(models.c.id).where(models.c.id == model_id, models.c.removed_at.is_not(None))
    return connection.execute(query).first() is not None


def remove(connection: Connection, model_id: int, actor: str) -> bool:
    """Delete the file of a version, and keep its row. Return whether it was deleted.

    An active version is kept, and so is one with which a backfill predicts. The file stays if
    another version has it too.
    """
    acquire_claim_lock(connection)  # so that it is not activated, and no backfill begins
    needed = exists().where(backfills.c.model_id == model_id, backfills.c.ended_at.is_(None))
    # Code of the schema 0002 writes false where this code writes null.
    free = models.c.active.is_not(true()), models.c.removed_at.is_(None), ~needed
    this = models.c.id == model_id, *free
    done = connection.execute(update(models).where(*this).values(removed_at=utc_now())).rowcount
    if not done:
        return False
    _record(connection, actor, "models.remove", model_id)
    sha256 = select(models.c.sha256).where(models.c.id == model_id).scalar_subquery()
    kept = select(models.c.sha256).where(models.c.removed_at.is_(None))
    unused = model_files.c.sha256 == sha256, model_files.c.sha256.not_in(kept)
    connection.execute(delete(model_files).where(*unused))
    return True


def _record(connection: Connection, actor: str, action: str, model_id: int) -> None:
    found = get_version(connection, model_id)
    audit.record(connection, actor, action, found.name, {"version": found.version})


@dataclass(frozen=True, slots=True)
class Pair:
    """The predictions of one item by two versions, as JSON texts, and whether its label changed.

    `other_label` is None if one of the versions has no labels.
    """

    item_id: int
    one: str
    other: str
    other_label: bool | None


def pairs(
    connection: Connection, model_ids: tuple[int, int], after: int, limit: int
) -> Sequence[Pair]:
    """Return items above the id `after` that both versions predicted, with the same data."""
    one, other = predictions.alias("one"), predictions.alias("other")
    both = one.c.item_id == other.c.item_id, one.c.model_id == model_ids[0]
    finished = items.c.id == one.c.item_id, items.c.status.in_(FINISHED)
    columns = one.c.item_id, one.c.prediction, other.c.prediction, one.c.label != other.c.label
    query = select(*columns).where(
        *finished, *both, other.c.model_id == model_ids[1], one.c.item_id > after
    )
    found = connection.execute(query.order_by(one.c.item_id).limit(limit))
    return [Pair(*row) for row in found]


def store_file(connection: Connection, sha256: str, content: bytes) -> bool:
    """Store a model's file once, in parts that fit into the server's packets.

    Return whether it was stored. A stored file that has other bytes is replaced.
    """
    if has_file(connection, sha256):
        if read_file(connection, sha256) == content:
            return False
        connection.execute(delete(model_files).where(model_files.c.sha256 == sha256))
    limit = packets.max_values(connection)
    # Each byte may be sent as two.
    size = MODEL_PART_BYTES if limit is None else min(MODEL_PART_BYTES, (limit - 1024) // 2)
    for part, start in enumerate(range(0, len(content), size)):
        piece = content[start : start + size]
        row: dict[str, Sequence[Any]] = {"sha256": [sha256], "part": [part], "content": [piece]}
        insert_many(connection, "model_files", row)
    return True


def restore_file(connection: Connection, model_id: int, content: bytes, actor: str) -> bool:
    """Store the file of a version again if it is missing or damaged. Return whether it was."""
    acquire_claim_lock(connection)  # so that the version is not removed meanwhile
    found = get_version(connection, model_id)
    if found.removed_at is not None or not store_file(connection, found.sha256, content):
        return False
    _record(connection, actor, "models.restore", model_id)
    return True


def has_file(connection: Connection, sha256: str) -> bool:
    """Whether the file is stored."""
    query = select(model_files.c.part).where(model_files.c.sha256 == sha256).limit(1)
    return connection.execute(query).first() is not None


def read_file(connection: Connection, sha256: str) -> bytes:
    """Return the content of a stored file, as far as it is there."""
    of_file = model_files.c.sha256 == sha256
    query = select(model_files.c.content).where(of_file).order_by(model_files.c.part)
    parts = connection.execute(query).scalars()
    # SQLite stores a text if a client writes one. Its bytes are not those of the model.
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
