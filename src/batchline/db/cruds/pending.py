"""Statements that find and read the items that are still to be predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, String, case, func, literal, select, update

from batchline.constants import (
    BEFORE_ALL_IDS,
    CLAIM_MAX_BYTES,
    CLAIM_MAX_ITEMS,
    MAX_BODY_BYTES,
    SINGLE_LANE,
    Status,
)
from batchline.db.cruds.items import text_of
from batchline.db.dialects.types import (
    MYSQL_LONG_CONCATENATION,
    SEPARATOR,
    among,
    byte_length,
    concatenated,
    raw_text,
    same_text,
    text_or_null,
)
from batchline.db.models import items
from batchline.db.scope import PENDING, IdRange, Scope

Text = str | bytes | None
"""The JSON text of an item as the driver returns it, or None if it is too large to be predicted."""


@dataclass(frozen=True, slots=True)
class RangeSummary:
    """The unpredicted items of a range: the size of their data in bytes, and their model.

    `model` is None if they are of several models, or if its name is not valid text.
    """

    size: int
    model: str | None


@dataclass(frozen=True, slots=True)
class ModelItems:
    """Items of one model as they were read: id → JSON text, in the order of the ids."""

    model: str
    texts: dict[int, Text]


SMALL_ITEM_BYTES = CLAIM_MAX_BYTES // CLAIM_MAX_ITEMS
"""A claim full of such items is within `CLAIM_MAX_BYTES`."""
JSON_TEXT = case((byte_length(items.c.data) <= MAX_BODY_BYTES, raw_text(items.c.data)))
INVALID = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes of a model's name that are no text, which SQLite lets clients store."""


def _pending(*columns: Any) -> Select[Any]:
    return select(*columns).where(items.c.status == Status.PENDING)


def _of_lane(lane: int) -> Select[Any]:
    return _pending(items.c.id).where(items.c.lane == lane)


def _unpredicted(scope: Scope, ids: IdRange, *columns: Any) -> Select[Any]:
    return select(*columns).where(*scope.within(*ids)).order_by(items.c.id)


def exists(connection: Connection) -> bool:
    """Whether any item is pending. Costs one probe of the index."""
    return connection.execute(_pending(items.c.id).limit(1)).first() is not None


def next_lane(connection: Connection, above: int | None, below: int | None) -> int | None:
    """Return the lowest lane between these two with a pending item, or None.

    Costs one probe of the index, however many items the lanes have.
    """
    query = _pending(items.c.lane).order_by(items.c.lane).limit(1)
    if above is not None:
        query = query.where(items.c.lane > above)
    if below is not None:
        query = query.where(items.c.lane < below)
    lane = connection.execute(query).scalar()
    if isinstance(lane, str | bytes):
        _replace_words(connection)
        return SINGLE_LANE
    return lane


def _replace_words(connection: Connection) -> None:
    """Move pending items out of lanes that are no numbers, which SQLite lets clients write.

    There, texts and bytes follow all numbers.
    """
    words = items.c.status == Status.PENDING, items.c.lane >= literal("", String)
    connection.execute(update(items).where(*words).values(lane=SINGLE_LANE))


def first(connection: Connection, lane: int, after: int = BEFORE_ALL_IDS) -> int | None:
    """Return the lowest pending id above `after` in a lane, or None. Costs one probe."""
    query = _of_lane(lane).order_by(items.c.id).limit(1)
    if after > BEFORE_ALL_IDS:
        query = query.where(items.c.id > after)
    return connection.execute(query).scalar()


def last(connection: Connection, lane: int) -> int | None:
    """Return the highest pending id of a lane, or None. Costs one probe of the index."""
    return connection.execute(_of_lane(lane).order_by(items.c.id.desc()).limit(1)).scalar()


def nth(connection: Connection, lane: int, first_id: int, n: int) -> int | None:
    """Return the id of the n-th pending item of a lane from `first_id` on, or None.

    It reads n entries of the index.
    """
    query = _of_lane(lane).where(items.c.id >= first_id).order_by(items.c.id)
    return connection.execute(query.limit(1).offset(n - 1)).scalar()


def count(connection: Connection) -> int:
    """Count the pending items. It reads that part of the index, so it is for people, not loops."""
    return int(connection.execute(_pending(func.count())).scalar_one())


def unpredicted_ids(
    connection: Connection, ids: IdRange, scope: Scope = PENDING, limit: int | None = None
) -> list[int]:
    """Return the ids of the unpredicted items from the first to the last id, or the first ones."""
    return list(connection.execute(_unpredicted(scope, ids, items.c.id).limit(limit)).scalars())


def still_unpredicted(connection: Connection, item_ids: Sequence[int], scope: Scope) -> set[int]:
    """Return those of these items that are still unpredicted, whatever their lane is now."""
    if not item_ids:
        return set()
    query = select(items.c.id).where(among(items.c.id, item_ids), *scope.unpredicted())
    return set(connection.execute(query).scalars())


def models(connection: Connection, ids: IdRange, scope: Scope = PENDING) -> set[str]:
    """Return the models of the unpredicted items from the first to the last id."""
    query = select(text_or_null(items.c.model)).distinct().where(*scope.within(*ids))
    return set(map(_replace_invalid, connection.execute(query).scalars()))


def summarize_range(connection: Connection, ids: IdRange, scope: Scope = PENDING) -> RangeSummary:
    """Summarize the unpredicted items from the first to the last id."""
    ends = text_or_null(func.min(items.c.model)), text_or_null(func.max(items.c.model))
    query = select(func.sum(byte_length(items.c.data)), *ends).where(*scope.within(*ids))
    size, model, last_model = connection.execute(query).one()
    return RangeSummary(int(size or 0), _valid_text(model) if model == last_model else None)


def last_within(
    connection: Connection, ids: IdRange, max_bytes: int, scope: Scope = PENDING
) -> int:
    """Return the id up to which the unpredicted items have `max_bytes` of data.

    They are one at least, and `CLAIM_MAX_ITEMS` at most.
    """
    sizes = _unpredicted(scope, ids, items.c.id, byte_length(items.c.data)).limit(CLAIM_MAX_ITEMS)
    last_id, total = ids.first, 0
    for index, (item_id, size) in enumerate(connection.execute(sizes)):
        total += size
        if total > max_bytes and index > 0:
            break
        last_id = item_id
    return last_id


def read_small(connection: Connection, ids: IdRange, scope: Scope, model: str) -> ModelItems | None:
    """Read the items of a range if each id in it is a small unpredicted item of this model.

    That is nearly always so, and then one statement does for what otherwise takes two.
    """
    if ids.last - ids.first >= CLAIM_MAX_ITEMS:
        return None  # clients may have put any number of items between those of the claim
    small = case((byte_length(items.c.data) <= SMALL_ITEM_BYTES, raw_text(items.c.data)))
    query = _unpredicted(scope, ids, items.c.id, small).where(same_text(items.c.model, model))
    texts: dict[int, Text] = dict(_fetch_all(connection, query))
    complete = len(texts) == ids.last - ids.first + 1 and None not in texts.values()
    return ModelItems(model, texts) if complete else None


def read_unpredicted(
    connection: Connection, ids: IdRange, scope: Scope = PENDING, model: str | None = None
) -> list[ModelItems]:
    """Read the unpredicted items from the first to the last id, by model.

    Args:
        model: read only the items of this model. This is faster than to read the model of each.
    """
    if model is not None:
        query = _unpredicted(scope, ids, items.c.id, JSON_TEXT)
        texts = dict(_fetch_all(connection, query.where(same_text(items.c.model, model))))
        return [ModelItems(model, texts)] if texts else []
    query = _unpredicted(scope, ids, items.c.id, JSON_TEXT, text_or_null(items.c.model))
    found: dict[str, dict[int, Text]] = {}
    for item_id, text, name in _fetch_all(connection, query):
        found.setdefault(_replace_invalid(name), {})[item_id] = text
    return [ModelItems(name, texts) for name, texts in found.items()]


def changed(connection: Connection, read: ModelItems) -> set[int]:
    """Return the items that no longer have the model or the text that they were read with."""
    model, texts = read.model, read.texts
    if not texts or are_unchanged(connection, texts, model):
        return set()
    now = read_texts(connection, list(texts), model)
    return {
        item_id for item_id, text in texts.items() if item_id not in now or now[item_id] != text
    }


def are_unchanged(connection: Connection, texts: Mapping[int, Text], model: str) -> bool:
    """Whether items still have this model and these texts, compared as one concatenated text.

    This takes half the time of reading each text. False can also mean that it cannot tell.
    """
    if not _is_exact(model) or None in texts.values():
        return False
    these = among(items.c.id, list(texts)), same_text(items.c.model, model)
    each = select(items.c.id, JSON_TEXT.label("text")).where(*these).order_by(items.c.id).subquery()
    query = select(func.count(), concatenated(each.c.text, each.c.id))
    query = query.prefix_with(MYSQL_LONG_CONCATENATION, dialect="mysql")
    count, found = connection.execute(query).one()
    if count != len(texts):
        return False
    separator = SEPARATOR.encode() if isinstance(found, bytes) else SEPARATOR
    expected: Any = separator.join(texts.values())  # type: ignore[arg-type]
    # Texts with separators of their own could be cut apart in other ways.
    return bool(found == expected and expected.count(separator) == count - 1)


def read_texts(connection: Connection, item_ids: Sequence[int], model: str) -> dict[int, Text]:
    """Read items of one model again, whatever their status is."""
    these = among(items.c.id, item_ids)
    if _is_exact(model):
        query = select(items.c.id, JSON_TEXT).where(these, same_text(items.c.model, model))
        return dict(_fetch_all(connection, query))
    query = select(items.c.id, JSON_TEXT, text_or_null(items.c.model)).where(these)
    rows = _fetch_all(connection, query)
    return {item_id: text for item_id, text, name in rows if _replace_invalid(name) == model}


def _fetch_all(connection: Connection, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    # The driver's own rows: to make a Row of each item takes a tenth of the whole job's time.
    result = connection.execute(query)
    rows: Sequence[Any] = result.cursor.fetchall()
    result.close()
    return rows


def _is_exact(model: str) -> bool:
    """Whether items can be found by this name of their model, which is as they have it."""
    return bool(model) and INVALID not in model


def _valid_text(value: str | bytes | None) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return None


def _replace_invalid(value: str | bytes | None) -> str:
    return text_of(value) or ""
