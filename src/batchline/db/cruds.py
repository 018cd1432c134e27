"""Every statement, one small function each. Foreign text only ever travels as a parameter."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
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
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from batchline.constants import (
    BEFORE_ALL_IDS,
    DEFAULT_MODEL,
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
from batchline.db.scope import PENDING, Scope

Record = Row[*tuple[Any, ...]]


# Registering and reading -----------------------------------------------------------------------


def register_items(
    connection: Connection, data: Sequence[str], of_models: Sequence[str] = ()
) -> list[int]:
    """Store one item for each JSON text; their ids, in the same order.

    Args:
        of_models: for each item the name of its model; () if all are for the default one.
    """
    if not data:
        return []
    if set(of_models) <= {DEFAULT_MODEL}:
        return insert_returning_ids(connection, "items", ("data",), [(text,) for text in data])
    rows = list(zip(data, of_models, strict=True))
    return insert_returning_ids(connection, "items", ("data", "model"), rows)


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
    """One item with its prediction or its failure, or None; see `_rank`."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    query = _answers(items, predictions.c.prediction).where(items.c.id == item_id)
    return max(connection.execute(query).all(), key=_rank, default=None)


def get_answer(connection: Connection, item_id: int, version: int) -> Record | None:
    """One item with the prediction or the failure of this version of its model, or None."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    number = models.c.name == items.c.model, models.c.version == version
    model_id = select(models.c.id).where(*number).correlate(items).scalar_subquery()
    query = _answers(items, predictions.c.prediction, of_version=model_id)
    answered = or_(predictions.c.id.is_not(None), failures.c.item_id.is_not(None))
    return connection.execute(query.where(items.c.id == item_id, answered)).first()


def get_items(connection: Connection, item_ids: Sequence[int]) -> dict[int, Record]:
    """Those of the items that there are; without large predictions, see `with_large`."""
    possible = [item_id for item_id in item_ids if BEFORE_ALL_IDS < item_id < 2**63]
    found = connection.execute(_by_ids(), {"ids": possible}).all()
    return {record.id: record for record in sorted(found, key=_rank)}


def list_items(
    connection: Connection, *, after: int, limit: int, status: Status | None
) -> Sequence[Record]:
    """Up to `limit` items with an id above `after`, in the order of their ids.

    Large predictions are left out; see `with_large`.
    """
    values = {"after": after, "limit": limit, "status": status}
    found = connection.execute(_page(of_status=status is not None), values).all()
    best = {record.id: record for record in sorted(found, key=_rank)}
    return sorted(best.values(), key=attrgetter("id"))


def _rank(record: Record) -> tuple[bool, int]:
    """Of several versions' predictions of an item the active one's counts, else the newest."""
    return bool(record.active), record.version or 0


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


def text_of(value: str | bytes | None) -> str | None:
    """What `raw_text` read; bytes that are no text, which SQLite lets clients store, are marked."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


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
    page = select(items.c.id, items.c.status, items.c.created_at, items.c.model)
    page = page.where(items.c.id > bindparam("after")).order_by(items.c.id)
    if of_status:
        page = page.where(items.c.status == bindparam("status"))
    return _small_answers(page.limit(bindparam("limit", type_=Integer)).subquery())


def _small_answers(of: FromClause) -> Select[Any]:
    size = byte_length(predictions.c.prediction)
    small = case((size <= LARGE_PREDICTION_BYTES, predictions.c.prediction)).label("prediction")
    return _answers(of, small, size.label("size"))


def _answers(of: FromClause, *columns: Any, of_version: Any = None) -> Select[Any]:
    """The items in `of` beside what became of them, in no order; see `_rank`."""
    prediction, failure = predictions.c.item_id == of.c.id, failures.c.item_id == of.c.id
    if of_version is not None:
        prediction = and_(prediction, predictions.c.model_id == of_version)
        failure = and_(failure, failures.c.model_id == of_version)
    answered_by = func.coalesce(predictions.c.model_id, failures.c.model_id)
    return (
        select(
            of.c.id,
            of.c.status,
            of.c.created_at,
            raw_text(of.c.model).label("model"),
            *columns,
            predictions.c.created_at.label("predicted_at"),
            failures.c.code,
            failures.c.detail,
            failures.c.created_at.label("failed_at"),
            models.c.version,
            models.c.active,
        )
        .select_from(of)
        .outerjoin(predictions, prediction)
        .outerjoin(failures, failure)
        .outerjoin(models, models.c.id == answered_by)
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


def touch_gate(connection: Connection) -> None:
    """Write without changing anything: it succeeds where the database can be written to."""
    connection.execute(update(gate).values(id=gate.c.id))


def database_time(connection: Connection) -> datetime:
    """The database's clock."""
    return connection.execute(select(utc_now())).scalar_one()


# Pending items ---------------------------------------------------------------------------------


def _pending(*columns: Any) -> Select[Any]:
    return select(*columns).where(items.c.status == Status.PENDING).order_by(items.c.id)


def _open(scope: Scope, first_id: int, last_id: int, *columns: Any) -> Select[Any]:
    return select(*columns).where(*scope.within(first_id, last_id)).order_by(items.c.id)


def first_pending(connection: Connection, after: int = BEFORE_ALL_IDS) -> int | None:
    """The lowest pending id above `after`, or None. One probe of the index."""
    query = _pending(items.c.id).where(items.c.id > after).limit(1)
    return connection.execute(query).scalar()


def open_ids(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> list[int]:
    """The ids of the items of a range that are still to be predicted."""
    return list(connection.execute(_open(scope, first_id, last_id, items.c.id)).scalars())


def last_pending(connection: Connection) -> int | None:
    """The highest pending id, or None. One probe of the index."""
    highest = select(items.c.id).where(items.c.status == Status.PENDING).order_by(items.c.id.desc())
    return connection.execute(highest.limit(1)).scalar()


def nth_pending(connection: Connection, first_id: int, n: int) -> int | None:
    """The id of the n-th pending item from `first_id` on, or None; reads n entries of the index."""
    query = _pending(items.c.id).where(items.c.id >= first_id).limit(1).offset(n - 1)
    return connection.execute(query).scalar()


def extent(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> tuple[int, str | None, bool]:
    """A range's open items: the size of their data, one of their models, whether it is all's."""
    ends = raw_text(func.min(items.c.model)), raw_text(func.max(items.c.model))
    query = select(func.sum(byte_length(items.c.data)), *ends)
    found = connection.execute(query.where(*scope.within(first_id, last_id))).one()
    size, model, last_model = found
    return int(size or 0), text_of(model), model == last_model


def last_within(
    connection: Connection, first_id: int, last_id: int, max_bytes: int, scope: Scope = PENDING
) -> int:
    """The id up to which a range's open items, one at least, have `max_bytes` of data."""
    sizes = _open(scope, first_id, last_id, items.c.id, byte_length(items.c.data))
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


def read_open(
    connection: Connection,
    first_id: int,
    last_id: int,
    scope: Scope = PENDING,
    model: str | None = None,
) -> dict[str, list[tuple[int, str | bytes | None]]]:
    """The open items of a range, by model: id and JSON text, or None where that is too large.

    Args:
        model: the one of all of them, if that is known; then it is not read with each.
    """
    fits = case((byte_length(items.c.data) <= MAX_BODY_BYTES, raw_text(items.c.data)))
    if model is not None:
        query = _open(scope, first_id, last_id, items.c.id, fits)
        of_model: list[Any] = list(connection.execute(query))
        return {model: of_model} if of_model else {}
    query = _open(scope, first_id, last_id, items.c.id, fits, raw_text(items.c.model))
    found: dict[str, list[tuple[int, str | bytes | None]]] = {}
    for item_id, text, name in connection.execute(query):
        found.setdefault(text_of(name) or "", []).append((item_id, text))
    return found


# Results ---------------------------------------------------------------------------------------


class ItemsChanged(Exception):
    """Items that were pending when they were read are gone, or have another status."""


def store_predictions(connection: Connection, answers: Sequence[tuple[int, int, str]]) -> None:
    """Store predictions (item, model id and JSON text) and mark their items, which are pending.

    Raises:
        ItemsChanged: not all of them are; see `lock_open`.
        IntegrityError: one of the items has a prediction by this model; see `forget_answers`.
    """
    _finish(connection, [answer[0] for answer in answers], Status.SUCCEEDED)
    insert_many(connection, "predictions", ("item_id", "model_id", "prediction"), answers)


def store_failures(connection: Connection, reasons: Sequence[tuple[int, int, str, str]]) -> None:
    """Store failures (item, model id, code, detail) and mark their items, which are pending.

    Raises:
        ItemsChanged: not all of them are; see `lock_open`.
        IntegrityError: one of the items has a failure already; see `forget_answers`.
    """
    _finish(connection, [reason[0] for reason in reasons], Status.FAILED)
    insert_many(connection, "failures", ("item_id", "model_id", "code", "detail"), reasons)


def forget_answers(
    connection: Connection, model_ids: Collection[int], first_id: int, last_id: int
) -> None:
    """Remove what pending items of a range have been answered before by these versions.

    Only a client that set their status back by hand can have made such items.
    """
    pending = select(items.c.id).where(*PENDING.within(first_id, last_id))
    of_models = predictions.c.model_id.in_(model_ids)
    connection.execute(delete(predictions).where(of_models, predictions.c.item_id.in_(pending)))
    connection.execute(delete(failures).where(failures.c.item_id.in_(pending)))


def lock_open(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> set[int]:
    """The ids of a range's open items, which stay so until this transaction ends."""
    query = select(items.c.id).where(*scope.within(first_id, last_id)).with_for_update()
    return set(connection.execute(query).scalars())


def mark_answered(connection: Connection, item_ids: Sequence[int]) -> None:
    """Failed items that have a prediction now have succeeded."""
    if item_ids:
        failed = items.c.id.in_(item_ids), items.c.status == Status.FAILED
        connection.execute(update(items).where(*failed).values(status=Status.SUCCEEDED))


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
    failed = exists().where(items.c.id == failures.c.item_id, items.c.status == Status.FAILED)
    query = select(failures.c.item_id).distinct().where(failed)
    query = query.order_by(failures.c.item_id).limit(limit)
    if item_ids:
        query = query.where(failures.c.item_id.in_(item_ids))
    if code is not None:
        query = query.where(failures.c.code == code)
    found = connection.execute(query).scalars().all()
    if found:
        these = items.c.id.in_(found), items.c.status == Status.FAILED
        connection.execute(update(items).where(*these).values(status=Status.PENDING))
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
