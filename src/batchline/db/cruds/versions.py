"""Statements about the versions of models, and the files that are stored with them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from batchline.constants import MODEL_PART_BYTES, NO_VERSION
from batchline.db.dialects.inserts import insert_many, insert_one
from batchline.db.models import Record, items, model_files, models, predictions


def active_versions(connection: Connection) -> Sequence[Record]:
    """The active version of each model."""
    return connection.execute(select(models).where(models.c.active)).all()


def active_ids(connection: Connection) -> dict[str, int]:
    """The id of the active version of each model, by its name."""
    query = select(models.c.name, models.c.id).where(models.c.active)
    return {row.name: row.id for row in connection.execute(query)}


def all_versions(connection: Connection, name: str | None = None) -> Sequence[Record]:
    """All versions, of this model if given, in the order of names and versions."""
    query = select(models).order_by(models.c.name, models.c.version)
    if name is not None:
        query = query.where(models.c.name == name)
    return connection.execute(query).all()


def get_version(connection: Connection, model_id: int) -> Record:
    """The version of this id."""
    return connection.execute(select(models).where(models.c.id == model_id)).one()


def has_active(connection: Connection, name: str) -> bool:
    """Whether there is a model of this name."""
    query = select(models.c.id).where(models.c.name == name, models.c.active)
    return connection.execute(query.limit(1)).first() is not None


def active_version_of(connection: Connection, item_id: int) -> int:
    """The id of the version that would predict an item, or `NO_VERSION`."""
    query = select(models.c.id).join(items, items.c.model == models.c.name)
    found = connection.execute(query.where(items.c.id == item_id, models.c.active)).scalar()
    return NO_VERSION if found is None else int(found)


def add_version(connection: Connection, name: str, values: dict[str, Any]) -> int:
    """Store the next version of this model; its id. It is not active.

    The caller has passed the gate: two at once must not both take the next number.
    """
    newest = select(func.max(models.c.version)).where(models.c.name == name)
    version = (connection.execute(newest).scalar() or 0) + 1
    return insert_one(connection, models, name=name, version=version, active=False, **values)


def activate(connection: Connection, name: str, model_id: int) -> None:
    """Let this version predict what is claimed from now on."""
    of_name = models.c.name == name
    connection.execute(update(models).where(of_name).values(active=models.c.id == model_id))


def pairs(
    connection: Connection, model_ids: tuple[int, int], after: int, limit: int
) -> Sequence[Record]:
    """Items above the id `after` that both versions predicted: id, and both predictions."""
    one, other = predictions.alias("one"), predictions.alias("other")
    both = one.c.item_id == other.c.item_id, one.c.model_id == model_ids[0]
    query = select(one.c.item_id, one.c.prediction, other.c.prediction).where(
        *both, other.c.model_id == model_ids[1], one.c.item_id > after
    )
    return connection.execute(query.order_by(one.c.item_id).limit(limit)).all()


def store_file(connection: Connection, sha256: str, content: bytes) -> None:
    """Keep a model's file, in parts that fit into any server's packets; once only."""
    if has_file(connection, sha256):
        return
    starts = range(0, len(content), MODEL_PART_BYTES)
    for part, start in enumerate(starts):
        row = (sha256, part, content[start : start + MODEL_PART_BYTES])
        insert_many(connection, "model_files", ("sha256", "part", "content"), [row])


def has_file(connection: Connection, sha256: str) -> bool:
    """Whether the file is stored."""
    query = select(model_files.c.part).where(model_files.c.sha256 == sha256).limit(1)
    return connection.execute(query).first() is not None


def read_file(connection: Connection, sha256: str) -> bytes:
    """The content of a file that is stored, or what is left of it."""
    of_file = model_files.c.sha256 == sha256
    query = select(model_files.c.content).where(of_file).order_by(model_files.c.part)
    return b"".join(connection.execute(query).scalars())
