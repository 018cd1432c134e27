"""Every statement, one small function each. Foreign text only ever travels as a parameter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from batchline.constants import (
    BEFORE_ALL_IDS,
    LARGE_PREDICTION_BYTES,
    MAX_BODY_BYTES,
    SCHEMA_REVISION,
    Status,
)
from batchline.db.dialects import (
    byte_length,
    insert_many,
    insert_returning_ids,
    raw_text,
    utc_now,
)
from batchline.db.models import failures, gate, idempotency_keys, items, models, predictions, runs

Record = Row[*tuple[Any, ...]]


# Registering and reading -----------------------------------------------------------------------


def register_items(connection: Connection, data: Sequence[str]) -> list[int]:
    """Store one item for each JSON text; their ids, in the same order."""
    if not data:
        return []
    return insert_returning_ids(connection, "items", "data", data)


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and what it came with, both as SHA-256: any key fits, in any collation."""

    key: str
    data: str


def items_of_keys(connection: Connection, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """For those of these keys that are known: what they came with, and the item's id."""
    table = idempotency_keys.c
    query = select(table.key_sha256, table.data_sha256, table.item_id)
    rows = connection.execute(query.where(table.key_sha256.in_(keys)))
    return {key: (data, item_id) for key, data, item_id in rows}


def store_keys(connection: Connection, keys: Sequence[tuple[Key, int]]) -> None:
    """Remember to which item each key belongs.

    Raises:
        IntegrityError: another transaction was faster with one of them.
    """
    rows = [(item_id, key.data, key.key) for key, item_id in keys]
    columns = ("item_id", "data_sha256", "key_sha256")
    insert_many(connection, "idempotency_keys", columns, rows)


def get_item(connection: Connection, item_id: int) -> Record | None:
    """One item with its newest prediction or its failure, or None."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    query = _answers(items, predictions.c.prediction).where(items.c.id == item_id)
    return connection.execute(query).first()


def get_items(connection: Connection, item_ids: Sequence[int]) -> dict[int, Record]:
    """Those of the items that there are; without large predictions, see `with_large`."""
    possible = [item_id for item_id in item_ids if BEFORE_ALL_IDS < item_id < 2**63]
    return {record.id: record for record in connection.execute(_by_ids(), {"ids": possible})}


def list_items(
    connection: Connection, *, after: int, limit: int, status: Status | None
) -> Sequence[Record]:
    """Up to `limit` items with an id above `after`, in the order of their ids.

    Large predictions are left out; see `with_large`.
    """
    values = {"after": after, "limit": limit, "status": status}
    found = connection.execute(_page(of_status=status is not None), values).all()
    return sorted(found, key=attrgetter("id"))


def with_large(
    connection: Connection, records: Sequence[Record], max_bytes: int
) -> Sequence[Record]:
    """The records with their large predictions, and as many, one at least, as `max_bytes` hold."""
    if not any(is_large(record) for record in records):
        return records
    found: list[Record] = []
    total = 0
    for record in records:
        total += record.size or 0
        if found and total > max_bytes:
            break
        found.append(get_item(connection, record.id) or record)
    return found


def is_large(record: Record) -> bool:
    """Whether the record lacks its prediction because that is large."""
    return record.size is not None and record.size > LARGE_PREDICTION_BYTES


@cache  # building these two takes longer than running them
def _by_ids() -> Select[Any]:
    return _small_answers(items).where(items.c.id.in_(bindparam("ids", expanding=True)))


@cache
def _page(*, of_status: bool) -> Select[Any]:
    # The limit is inside: with it at the end, MySQL joins all items first, sorts them, and then
    # takes the first hundred.
    page = select(items.c.id, items.c.status, items.c.created_at)
    page = page.where(items.c.id > bindparam("after")).order_by(items.c.id)
    if of_status:
        page = page.where(items.c.status == bindparam("status"))
    return _small_answers(page.limit(bindparam("limit", type_=Integer)).subquery())


def _small_answers(of: FromClause) -> Select[Any]:
    size = byte_length(predictions.c.prediction)
    small = case((size <= LARGE_PREDICTION_BYTES, predictions.c.prediction)).label("prediction")
    return _answers(of, small, size.label("size"))


def _answers(of: FromClause, *columns: Any) -> Select[Any]:
    """The items in `of` beside what became of them, in no order.

    An item that several versions predicted shows the newest: the highest model id.
    """
    others = predictions.alias()
    newest = (
        select(func.max(others.c.model_id)).where(others.c.item_id == of.c.id).scalar_subquery()
    )
    prediction_of_item = and_(predictions.c.item_id == of.c.id, predictions.c.model_id == newest)
    return (
        select(
            of.c.id,
            of.c.status,
            of.c.created_at,
            *columns,
            predictions.c.created_at.label("predicted_at"),
            failures.c.code,
            failures.c.detail,
            failures.c.created_at.label("failed_at"),
            models.c.name.label("model"),
            models.c.version,
        )
        .select_from(of)
        .outerjoin(predictions, prediction_of_item)
        .outerjoin(failures, failures.c.item_id == of.c.id)
        .outerjoin(
            models, models.c.id == func.coalesce(predictions.c.model_id, failures.c.model_id)
        )
    )


# Health ----------------------------------------------------------------------------------------


def schema_is_current(connection: Connection) -> bool:
    """Whether the newest migration has been run here."""
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return SCHEMA_REVISION in found


def pass_gate(connection: Connection) -> datetime:
    """Wait for the turn; until this transaction ends, no other gets past here.

    Returns the database's clock, so that jobs on several machines agree when a claim ends.
    """
    now: datetime = connection.execute(select(utc_now(), gate.c.id).with_for_update()).scalar_one()
    return now


def database_time(connection: Connection) -> datetime:
    """The database's clock."""
    return connection.execute(select(utc_now())).scalar_one()


# Models ----------------------------------------------------------------------------------------


def active_signature(connection: Connection, name: str) -> dict[str, Any] | None:
    """The signature of the model's active version, as the JSON object that was published."""
    query = select(models.c.signature).where(models.c.name == name, models.c.active)
    text = connection.execute(query).scalars().first()
    return None if text is None else json.loads(text)


def publish_model(
    connection: Connection, *, name: str, sha256: str, signature: dict[str, Any]
) -> int:
    """Make this file, with these labels, the active version; a new one if it was not there yet."""
    pass_gate(connection)  # two jobs that start at once must not both take the next number
    text = json.dumps(signature)
    query = select(models.c.id, models.c.signature)
    known = connection.execute(query.where(models.c.name == name, models.c.sha256 == sha256))
    # Compared here, for a collation may take two labels for the same.
    model_id = next((row.id for row in known if row.signature == text), None)
    if model_id is None:
        model_id = _insert_model(connection, name, sha256, text)
    connection.execute(
        update(models).where(models.c.name == name).values(active=models.c.id == model_id)
    )
    return model_id


def _insert_model(connection: Connection, name: str, sha256: str, signature: str) -> int:
    newest = select(func.max(models.c.version)).where(models.c.name == name)
    version = (connection.execute(newest).scalar() or 0) + 1
    return insert_one(
        connection,
        models,
        name=name,
        version=version,
        sha256=sha256,
        signature=signature,
        active=False,
    )


# Pending items ---------------------------------------------------------------------------------


def _pending(*columns: Any) -> Select[Any]:
    return select(*columns).where(items.c.status == Status.PENDING).order_by(items.c.id)


def _pending_in(first_id: int, last_id: int) -> tuple[ColumnElement[bool], ...]:
    return items.c.status == Status.PENDING, items.c.id.between(first_id, last_id)


def first_pending(connection: Connection, after: int = BEFORE_ALL_IDS) -> int | None:
    """The lowest pending id above `after`, or None. One probe of the index."""
    query = _pending(items.c.id).where(items.c.id > after).limit(1)
    return connection.execute(query).scalar()


def pending_ids(connection: Connection, first_id: int, last_id: int) -> list[int]:
    """The ids of the pending items of a range."""
    query = _pending(items.c.id).where(*_pending_in(first_id, last_id))
    return list(connection.execute(query).scalars())


def last_pending(connection: Connection) -> int | None:
    """The highest pending id, or None. One probe of the index."""
    highest = select(items.c.id).where(items.c.status == Status.PENDING).order_by(items.c.id.desc())
    return connection.execute(highest.limit(1)).scalar()


def nth_pending(connection: Connection, first_id: int, n: int) -> int | None:
    """The id of the n-th pending item from `first_id` on, or None; reads n entries of the index."""
    query = _pending(items.c.id).where(items.c.id >= first_id).limit(1).offset(n - 1)
    return connection.execute(query).scalar()


def pending_bytes(connection: Connection, first_id: int, last_id: int) -> int:
    """The size of the data of a range's pending items."""
    total = select(func.sum(byte_length(items.c.data))).where(*_pending_in(first_id, last_id))
    return int(connection.execute(total).scalar() or 0)


def last_within(connection: Connection, first_id: int, last_id: int, max_bytes: int) -> int:
    """The id up to which a range's pending items, one at least, have `max_bytes` of data."""
    sizes = _pending(items.c.id, byte_length(items.c.data)).where(*_pending_in(first_id, last_id))
    last, total = first_id, 0
    for place, (item_id, size) in enumerate(connection.execute(sizes)):
        total += size
        if total > max_bytes and place > 0:
            break
        last = item_id
    return last


def count_pending(connection: Connection) -> int:
    """How many items are pending; reads that part of the index, so for people, not for loops."""
    query = select(func.count()).select_from(items).where(items.c.status == Status.PENDING)
    return connection.execute(query).scalar_one()


def read_pending(
    connection: Connection, first_id: int, last_id: int
) -> Sequence[tuple[int, str | bytes | None]]:
    """The pending items of a range: id and JSON text, or None where the text is too large."""
    fits = case((byte_length(items.c.data) <= MAX_BODY_BYTES, raw_text(items.c.data)))
    query = _pending(items.c.id, fits).where(*_pending_in(first_id, last_id))
    return connection.execute(query).all()


# Results ---------------------------------------------------------------------------------------


class ItemsChanged(Exception):
    """Items that were pending when they were read are gone, or have another status."""


def store_predictions(
    connection: Connection, model_id: int, answers: Sequence[tuple[int, str]]
) -> None:
    """Store predictions (item id and JSON text) and mark their items, which are pending.

    Raises:
        ItemsChanged: not all of them are; see `lock_pending`.
        IntegrityError: one of the items has a prediction by this model; see `forget_answers`.
    """
    _finish(connection, [item_id for item_id, _ in answers], Status.SUCCEEDED)
    rows = [(item_id, model_id, answer) for item_id, answer in answers]
    insert_many(connection, "predictions", ("item_id", "model_id", "prediction"), rows)


def store_failures(
    connection: Connection, model_id: int, reasons: Sequence[tuple[int, str, str]]
) -> None:
    """Store failures (item id, code and detail) and mark their items, which are pending.

    Raises:
        ItemsChanged: not all of them are; see `lock_pending`.
        IntegrityError: one of the items has a failure already; see `forget_answers`.
    """
    _finish(connection, [item_id for item_id, _, _ in reasons], Status.FAILED)
    rows = [(item_id, model_id, code, detail) for item_id, code, detail in reasons]
    insert_many(connection, "failures", ("item_id", "model_id", "code", "detail"), rows)


def forget_answers(connection: Connection, model_id: int, first_id: int, last_id: int) -> None:
    """Remove what pending items of a range have been answered before.

    Only a client that set their status back by hand can have made such items.
    """
    pending = select(items.c.id).where(*_pending_in(first_id, last_id))
    of_model = predictions.c.model_id == model_id
    connection.execute(delete(predictions).where(of_model, predictions.c.item_id.in_(pending)))
    connection.execute(delete(failures).where(failures.c.item_id.in_(pending)))


def lock_pending(connection: Connection, first_id: int, last_id: int) -> set[int]:
    """The ids of a range's pending items, which stay so until this transaction ends."""
    query = select(items.c.id).where(*_pending_in(first_id, last_id)).with_for_update()
    return set(connection.execute(query).scalars())


def _finish(connection: Connection, item_ids: Sequence[int], status: Status) -> None:
    if not item_ids:
        return
    # A range where the ids have no gap, which is the rule; else one by one, so that an item that
    # appeared inside the range only after it was read (a transaction that committed late) stays.
    first, last = min(item_ids), max(item_ids)
    gapless = last - first + 1 == len(item_ids)
    these = items.c.id.between(first, last) if gapless else items.c.id.in_(item_ids)
    pending = items.c.status == Status.PENDING
    marked = connection.execute(update(items).where(these, pending).values(status=status)).rowcount
    if marked != len(item_ids):
        raise ItemsChanged


def retry_failed(
    connection: Connection, *, item_ids: Sequence[int], code: str | None, limit: int
) -> int:
    """Make up to `limit` failed items pending again, of these ids or this code if given.

    Returns how many there were.
    """
    pass_gate(connection)  # of two at once, one would delete failures that are newer than its retry
    query = select(failures.c.item_id).order_by(failures.c.item_id).limit(limit)
    if item_ids:
        query = query.where(failures.c.item_id.in_(item_ids))
    if code is not None:
        query = query.where(failures.c.code == code)
    found = connection.execute(query).scalars().all()
    if found:
        failed = items.c.id.in_(found), items.c.status == Status.FAILED
        connection.execute(update(items).where(*failed).values(status=Status.PENDING))
        connection.execute(delete(failures).where(failures.c.item_id.in_(found)))
    return len(found)


# Runs ------------------------------------------------------------------------------------------


def start_run(connection: Connection, owner: str) -> int:
    """Record that a run began; its id."""
    return insert_one(connection, runs, owner=owner)


def finish_run(
    connection: Connection, run_id: int, *, succeeded: int, failed: int, rows_per_second: float
) -> None:
    """Record how the run ended."""
    values = {"items_succeeded": succeeded, "items_failed": failed}
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(ended_at=utc_now(), rows_per_second=rows_per_second, **values)
    )


def insert_one(connection: Connection, table: Table, **values: Any) -> int:
    """Insert one row; its id."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])
