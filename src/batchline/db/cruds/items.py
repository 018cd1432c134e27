"""Statements that register items and read them back with their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
    null,
    or_,
    select,
)

from batchline.constants import (
    BEFORE_ALL_IDS,
    FINISHED,
    LARGE_PREDICTION_BYTES,
    Status,
)
from batchline.db.cruds import pages
from batchline.db.dialects.inserts import insert_returning_ids
from batchline.db.dialects.types import byte_length, raw_text, same_text
from batchline.db.models import failures, items, models, predictions
from batchline.db.new_items import NewItems


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item with its result by one version, as the database has them.

    A prediction of more than `LARGE_PREDICTION_BYTES` is None unless the item was read by itself,
    and so is its label. `size` is the prediction's size in bytes.
    """

    id: int
    custom_id: str | bytes | None
    status: str
    created_at: datetime | None
    model: str | bytes | None
    prediction: str | None
    size: int | None
    predicted_at: datetime | None
    code: str | None
    detail: str | None
    failed_at: datetime | None
    version: int | None
    active: bool | None
    label: str | bytes | None

    @property
    def is_large(self) -> bool:
        """Whether the prediction is missing because it is large."""
        return self.size is not None and self.size > LARGE_PREDICTION_BYTES


def register(connection: Connection, new: NewItems) -> list[int]:
    """Store new items, whatever their keys. Return their ids in the same order."""
    return insert_returning_ids(connection, "items", new.columns()) if new.data else []


def get(connection: Connection, item_id: int) -> StoredItem | None:
    """Return one item with its result, or None; see `_rank`."""
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    query = _results(items, predictions.c.prediction).where(items.c.id == item_id)
    return max(_read(connection, query), key=_rank, default=None)


def get_version_result(connection: Connection, item_id: int, version: int) -> StoredItem | None:
    """Return one item with its result by this version of its model, or None.

    A pending or canceled item has none: a client may have given it other data since then.
    """
    if not BEFORE_ALL_IDS < item_id < 2**63:
        return None
    number = same_text(items.c.model, models.c.name), models.c.version == version
    model_id = select(models.c.id).where(*number).correlate(items).scalar_subquery()
    query = _results(items, predictions.c.prediction, of_version=model_id)
    has_result = or_(predictions.c.id.is_not(None), failures.c.item_id.is_not(None))
    finished = items.c.id == item_id, items.c.status.in_(FINISHED), has_result
    return next(iter(_read(connection, query.where(*finished))), None)


def get_many(connection: Connection, item_ids: Sequence[int]) -> dict[int, StoredItem]:
    """Return the items that exist, without large predictions; see `load_large_predictions`."""
    possible = [item_id for item_id in item_ids if BEFORE_ALL_IDS < item_id < 2**63]
    found = _read(connection, _by_ids(), {"ids": possible})
    return {item.id: item for item in sorted(found, key=_rank)}


def list_page(
    connection: Connection, *, after: int, limit: int, status: Status | None
) -> Sequence[StoredItem]:
    """Return up to `limit` items with an id above `after`, ordered by id.

    Large predictions are left out; see `load_large_predictions`.
    """
    if status is None:
        found = _read(connection, _page(), {"after": after, "limit": limit})
    else:
        ids = pages.ids_by_status(connection, status, after=after, limit=limit)
        found = _read(connection, _by_ids(), {"ids": ids})
    best = {item.id: item for item in sorted(found, key=_rank)}
    return sorted(best.values(), key=attrgetter("id"))


def _read(
    connection: Connection, query: Select[Any], values: dict[str, Any] | None = None
) -> list[StoredItem]:
    return [StoredItem(*row) for row in connection.execute(query, values)]


def _rank(item: StoredItem) -> tuple[bool, int]:
    """Of several versions' results the active version's counts, else the newest version's."""
    return bool(item.active), item.version or 0


def load_large_predictions(
    connection: Connection, page: Sequence[StoredItem], max_bytes: int
) -> Sequence[StoredItem]:
    """Return the items with their large predictions: as many as `max_bytes` hold, at least one."""
    if not any(item.is_large for item in page):
        return page
    found: list[StoredItem] = []
    total = 0
    for item in page:
        total += item.size or 0
        if found and total > max_bytes:
            break
        found.append(get(connection, item.id) or item)
    return found


def text_of(value: str | bytes | None) -> str | None:
    """Decode what `raw_text` read. SQLite lets clients store bytes that are no text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@cache  # building these two statements takes longer than running them
def _by_ids() -> Select[Any]:
    return _small_results(items).where(items.c.id.in_(bindparam("ids", expanding=True)))


@cache
def _page() -> Select[Any]:
    # The limit is inside. With a limit at the end, MySQL joins all items first, sorts them, and
    # takes the first hundred.
    page = select(items.c.id, items.c.custom_id, items.c.status, items.c.created_at, items.c.model)
    page = page.where(items.c.id > bindparam("after")).order_by(items.c.id)
    return _small_results(page.limit(bindparam("limit", type_=Integer)).subquery())


def _small_results(of: FromClause) -> Select[Any]:
    size = byte_length(predictions.c.prediction)
    is_small = size <= LARGE_PREDICTION_BYTES
    small = case((is_small, predictions.c.prediction)).label("prediction")
    return _results(of, small, size, case((is_small, raw_text(predictions.c.label))))


def _results(
    of: FromClause, prediction: Any, size: Any = None, label: Any = None, *, of_version: Any = None
) -> Select[Any]:
    """The items in `of` with their results, in no order. The columns are those of `StoredItem`."""
    predicted, failed = predictions.c.item_id == of.c.id, failures.c.item_id == of.c.id
    if of_version is not None:
        predicted = and_(predicted, predictions.c.model_id == of_version)
        failed = and_(failed, failures.c.model_id == of_version)
    model_id = func.coalesce(predictions.c.model_id, failures.c.model_id)
    return (
        select(
            of.c.id,
            raw_text(of.c.custom_id),
            of.c.status,
            of.c.created_at,
            raw_text(of.c.model),
            prediction,
            null() if size is None else size,
            predictions.c.created_at.label("predicted_at"),
            failures.c.code,
            failures.c.detail,
            failures.c.created_at.label("failed_at"),
            models.c.version,
            models.c.active,
            raw_text(predictions.c.label) if label is None else label,
        )
        .select_from(of)
        .outerjoin(predictions, predicted)
        .outerjoin(failures, failed)
        .outerjoin(models, models.c.id == model_id)
    )
