"""Statements that register items and read them back with their results.

The view `results` decides which result is shown. See migration 0004.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, func, null, or_, select

from batchline.constants import BEFORE_ALL_IDS, FINISHED, LARGE_PREDICTION_BYTES, LARGEST_ID
from batchline.db.cruds import pages
from batchline.db.cruds.pages import NO_FILTERS, Filters
from batchline.db.dialects import packets
from batchline.db.dialects.inserts import insert_returning_ids
from batchline.db.dialects.types import byte_length, raw_text, same_text
from batchline.db.models import failures, items, models, predictions, results
from batchline.db.new_items import NewItems
from batchline.errors import ItemTooLarge
from batchline.request_ids import is_id


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item with the result that clients see, as the database has them.

    A prediction of more than `LARGE_PREDICTION_BYTES` is None unless the item was read by itself,
    and so is its label. `size` is the prediction's size in bytes.
    """

    id: int
    custom_id: str | bytes | None
    status: str
    model: str | bytes | None
    version: int | None
    prediction: str | bytes | None
    size: int | None
    label: str | bytes | None
    code: str | bytes | None
    detail: str | bytes | None
    created_at: datetime | None
    finished_at: datetime | None

    @property
    def is_large(self) -> bool:
        """Whether the prediction is missing because it is large."""
        return self.size is not None and self.size > LARGE_PREDICTION_BYTES


@dataclass(frozen=True, slots=True)
class Page:
    """Items in order. `last_id` is the `after` of the next page."""

    items: Sequence[StoredItem]
    has_more: bool
    last_id: int | None


def register(connection: Connection, new: NewItems) -> list[int]:
    """Store new items, whatever their keys. Return their ids in the same order."""
    return insert_returning_ids(connection, "items", new.columns()) if new.data else []


def too_large(connection: Connection, new: NewItems) -> dict[int, ItemTooLarge]:
    """Return an error for each item, by its place, that no statement to the server can hold."""
    if not new.data or packets.max_values(connection) is None:
        return {}
    return {
        place: ItemTooLarge(
            f"the item takes {size} bytes in a statement, and the database server's "
            f"max_allowed_packet is {packets.max_packet(connection)}",
            hint="send its rows in several requests, or raise max_allowed_packet on the server",
        )
        for place, size in packets.too_large(connection, new.columns()).items()
    }


def get(connection: Connection, item_id: int) -> StoredItem | None:
    """Return one item with its result, or None."""
    return _first(connection, _one(), {"id": item_id})


def get_version_result(connection: Connection, item_id: int, version: int) -> StoredItem | None:
    """Return one item with its result by this version of its model, or None.

    A pending or canceled item has none: a client may have given it other data since then.
    """
    return _first(connection, _by_version(), {"id": item_id, "version": version})


def get_many(connection: Connection, item_ids: Sequence[int]) -> dict[int, StoredItem]:
    """Return the items that exist, without large predictions; see `load_large_predictions`."""
    possible = [item_id for item_id in item_ids if _is_possible(item_id)]
    first, last = min(possible, default=0), max(possible, default=0)
    if last - first + 1 == len(possible):  # a page, usually: fewer values for the driver to write
        found = _read(connection, _by_range(), {"first": first, "last": last})
    else:
        found = _read(connection, _by_ids(), {"ids": possible})
    return {item.id: item for item in found}


def statuses(connection: Connection, item_ids: Sequence[int]) -> dict[int, str]:
    """Return the status of each of these items that exists."""
    query = select(items.c.id, items.c.status).where(items.c.id.in_(item_ids))
    return {row.id: str(row.status) for row in connection.execute(query)}


def request_ids(connection: Connection, item_ids: Sequence[int]) -> list[str]:
    """Return the ids of the requests that registered these items, each once.

    Values that are no id are left out: SQL clients may have written them.
    """
    query = select(raw_text(items.c.request_id)).where(items.c.id.in_(item_ids))
    found = connection.execute(query.order_by(items.c.id)).scalars()
    return [each for each in dict.fromkeys(map(text_of, found)) if each and is_id(each)]


def traceparents(connection: Connection, first_id: int, last_id: int) -> list[tuple[int, str]]:
    """Return the spans that registered items of this range, by item id, in order."""
    is_traced = items.c.traceparent.is_not(None)
    query = select(items.c.id, raw_text(items.c.traceparent)).where(
        items.c.id.between(first_id, last_id), is_traced
    )
    found = connection.execute(query.order_by(items.c.id))
    return [(item_id, text_of(text) or "") for item_id, text in found]


def list_page(
    connection: Connection, filters: Filters = NO_FILTERS, *, after: int | None = None, limit: int
) -> Page:
    """Return up to `limit` items that follow the item `after`, or the first ones.

    Large predictions are left out; see `load_large_predictions`. With a code, there can be fewer
    items than `limit` although there are more: an item can have failures that are not shown.
    """
    ids = pages.find(connection, filters, after=after, limit=limit + 1)
    found = get_many(connection, ids[:limit])
    of_page = [found[item_id] for item_id in ids[:limit] if item_id in found]
    if filters.code is not None:
        of_page = [item for item in of_page if item.code == filters.code]
    return Page(of_page, has_more=len(ids) > limit, last_id=ids[:limit][-1] if ids else None)


def load_large_predictions(connection: Connection, page: Page, max_bytes: int) -> Page:
    """Return a page with its large predictions: as many items as `max_bytes` hold, at least one."""
    if not any(item.is_large for item in page.items):
        return page
    found: list[StoredItem] = []
    total = 0
    for item in page.items:
        total += item.size or 0
        if found and total > max_bytes:
            return Page(found, has_more=True, last_id=found[-1].id)
        found.append(get(connection, item.id) or item)
    return replace(page, items=found)


def text_of(value: str | bytes | None) -> str | None:
    """Decode what `raw_text` read. SQLite lets clients store bytes that are no text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _read(connection: Connection, query: Select[Any], values: dict[str, Any]) -> list[StoredItem]:
    return [StoredItem(*row) for row in connection.execute(query, values)]


def _first(connection: Connection, query: Select[Any], values: dict[str, int]) -> StoredItem | None:
    if not _is_possible(values["id"]):
        return None
    return next(iter(_read(connection, query, values)), None)


def _is_possible(item_id: int) -> bool:
    """Whether an item can have this id. A driver would raise an error for others."""
    return BEFORE_ALL_IDS <= item_id <= LARGEST_ID


@cache  # building these statements takes longer than running them
def _one() -> Select[Any]:
    of = results.c
    return _select(of.prediction, null(), raw_text(of.label)).where(of.id == bindparam("id"))


@cache
def _by_ids() -> Select[Any]:
    return _small().where(results.c.id.in_(bindparam("ids", expanding=True)))


@cache
def _by_range() -> Select[Any]:
    return _small().where(results.c.id.between(bindparam("first"), bindparam("last")))


def _small() -> Select[Any]:
    of = results.c
    size = byte_length(of.prediction)
    is_small = size <= LARGE_PREDICTION_BYTES
    return _select(case((is_small, of.prediction)), size, case((is_small, raw_text(of.label))))


def _select(prediction: Any, size: Any, label: Any) -> Select[Any]:
    of = results.c
    return select(
        of.id,
        raw_text(of.custom_id),
        of.status,
        raw_text(of.model),
        of.version,
        prediction,
        size,
        label,
        of.error_code,
        of.error_detail,
        of.created_at,
        of.finished_at,
    )


@cache
def _by_version() -> Select[Any]:
    """The result by one version, which the view does not show if another version counts."""
    version = models.c.version == bindparam("version")
    predicted = predictions.c.item_id == items.c.id, predictions.c.model_id == models.c.id
    failed = failures.c.item_id == items.c.id, failures.c.model_id == models.c.id
    unless_predicted = failed[0], failed[1], predictions.c.id.is_(None)
    return (
        select(
            items.c.id,
            raw_text(items.c.custom_id),
            items.c.status,
            raw_text(items.c.model),
            models.c.version,
            predictions.c.prediction,
            null(),
            raw_text(predictions.c.label),
            failures.c.code,
            failures.c.detail,
            items.c.created_at,
            func.coalesce(predictions.c.created_at, failures.c.created_at),
        )
        .join(models, and_(same_text(models.c.name, items.c.model), version))
        .outerjoin(predictions, and_(*predicted))
        .outerjoin(failures, and_(*unless_predicted))
        .where(items.c.id == bindparam("id"), items.c.status.in_(FINISHED))
        .where(or_(predictions.c.id.is_not(None), failures.c.item_id.is_not(None)))
    )
