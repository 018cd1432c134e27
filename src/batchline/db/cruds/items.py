"""Statements that register items and read them back with their results."""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from batchline.constants import (
    BEFORE_ALL_IDS,
    DEFAULT_MODEL,
    LARGE_PREDICTION_BYTES,
    Status,
)
from batchline.db.dialects.inserts import insert_returning_ids
from batchline.db.dialects.types import byte_length, raw_text
from batchline.db.models import Record, failures, items, models, predictions


def register(
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


def get(connection: Connection, item_id: int) -> Record | None:
    """One item with its prediction or its failure, or None; see `_rank`."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    query = _results(items, predictions.c.prediction).where(items.c.id == item_id)
    return max(connection.execute(query).all(), key=_rank, default=None)


def get_version_result(connection: Connection, item_id: int, version: int) -> Record | None:
    """One item with the prediction or the failure of this version of its model, or None."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    number = models.c.name == items.c.model, models.c.version == version
    model_id = select(models.c.id).where(*number).correlate(items).scalar_subquery()
    query = _results(items, predictions.c.prediction, of_version=model_id)
    answered = or_(predictions.c.id.is_not(None), failures.c.item_id.is_not(None))
    return connection.execute(query.where(items.c.id == item_id, answered)).first()


def get_many(connection: Connection, item_ids: Sequence[int]) -> dict[int, Record]:
    """Those of the items that there are; without large predictions, see `with_large`."""
    possible = [item_id for item_id in item_ids if BEFORE_ALL_IDS < item_id < 2**63]
    found = connection.execute(_by_ids(), {"ids": possible}).all()
    return {record.id: record for record in sorted(found, key=_rank)}


def list_page(
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


def load_large_predictions(
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
        found.append(get(connection, record.id) or record)
    return found


def text_of(value: str | bytes | None) -> str | None:
    """What `raw_text` read; bytes that are no text, which SQLite lets clients store, are marked."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def is_large(record: Record) -> bool:
    """Whether the record lacks its prediction because that is large."""
    return record.size is not None and record.size > LARGE_PREDICTION_BYTES


@cache  # building these two takes longer than running them
def _by_ids() -> Select[Any]:
    return _small_results(items).where(items.c.id.in_(bindparam("ids", expanding=True)))


@cache
def _page(*, of_status: bool) -> Select[Any]:
    # The limit is inside: with it at the end, MySQL joins all items first, sorts them, and then
    # takes the first hundred.
    page = select(items.c.id, items.c.status, items.c.created_at, items.c.model)
    page = page.where(items.c.id > bindparam("after")).order_by(items.c.id)
    if of_status:
        page = page.where(items.c.status == bindparam("status"))
    return _small_results(page.limit(bindparam("limit", type_=Integer)).subquery())


def _small_results(of: FromClause) -> Select[Any]:
    size = byte_length(predictions.c.prediction)
    small = case((size <= LARGE_PREDICTION_BYTES, predictions.c.prediction)).label("prediction")
    return _results(of, small, size.label("size"))


def _results(of: FromClause, *columns: Any, of_version: Any = None) -> Select[Any]:
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
