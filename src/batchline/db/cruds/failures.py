"""Statements that read failures, and their groups: the same code, message and model."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, and_, or_, select

from batchline.constants import FAILURES_PAGE, Status
from batchline.db.cruds.items import text_of
from batchline.db.dialects.types import text_or_null
from batchline.db.models import Record, failures, items

EXAMPLES = 3
"""Ids of items that a group shows."""
POINTER = r"\bdata(?:/[^/\s:]+)+"
VALUE = r"""'[^']*'|"[^"]*"|(?<!\w)[-+]?\d[\d.,_]*(?:[eE][-+]?\d+)?"""
POINTERS_AND_VALUES = re.compile(f"(?P<pointer>{POINTER})|{VALUE}")
POSITIONS_AND_COUNTS = re.compile(
    r"line \d+ column \d+ \(char \d+\)|Expecting '[,:]' delimiter"
    r"|expected \d+ values?(?: as in the list before)?, got \d+"
)
"""Parts of Batchline's own messages. Their numbers and quotes are not values of a row."""
ROW = re.compile(r"/(\d+|\*)(?=/|$)")
"""The first number in a pointer. The others say which value of a row it is."""
MASK = "*"


@dataclass(slots=True)
class Group:
    """Failed items of one model with the same code and, apart from values, the same message.

    `newest` is None if no time of a failure can be read. `example_message` is that of the first of
    `examples`. It is None if it could show a value of a row, or shows no more than `message`.
    """

    code: str
    message: str
    model: str
    newest: datetime | None
    items: int = 0
    examples: list[int] = field(default_factory=list)
    example_message: str | None = None


def masked(message: str) -> str:
    """Return a message with an asterisk instead of each number and each quoted value.

    In a pointer, only the number of the row is masked.
    """

    def mask(found: re.Match[str]) -> str:
        pointer = found["pointer"]
        return MASK if pointer is None else ROW.sub(f"/{MASK}", pointer, count=1)

    return POINTERS_AND_VALUES.sub(mask, message)


def without_values(message: str) -> str | None:
    """Return a message that differs from its masked form, unless it could show a value of a row."""
    rest = POSITIONS_AND_COUNTS.sub("", re.sub(POINTER, "", message))
    return None if re.search(VALUE, rest) or message == masked(message) else message


def groups(
    connection: Connection, *, code: str | None, model: str | None, limit: int
) -> tuple[list[Group], int]:
    """Return the groups of the newest failures, the largest first, and how many were read.

    Args:
        limit: how many failures are read at most.
    """
    found: dict[tuple[str, str, str], Group] = {}
    last_item: dict[tuple[str, str, str], int] = {}
    read = 0
    for row in islice(_newest_first(connection, code, model), limit):
        read += 1
        detail = text_of(row.detail) or ""
        key = text_of(row.code) or "", masked(detail), text_of(row.model) or ""
        if key not in found:
            example = without_values(detail)
            found[key] = Group(*key, newest=row.created_at, example_message=example)
        group = found[key]
        group.newest = max(filter(None, [group.newest, row.created_at]), default=None)
        if row.item_id != last_item.get(key):  # else another version failed in the same way
            last_item[key] = row.item_id
            group.items += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(row.item_id)
    return sorted(found.values(), key=lambda each: -each.items), read


def item_ids_of_group(connection: Connection, code: str, message: str) -> Iterator[int]:
    """Return the failed items with this code and, apart from values, this message."""
    wanted = masked(message)
    for row in _newest_first(connection, code, None):
        if masked(text_of(row.detail) or "") == wanted:
            yield row.item_id


def _newest_first(connection: Connection, code: str | None, model: str | None) -> Iterator[Record]:
    columns = failures.c.item_id, failures.c.model_id, failures.c.created_at
    words = failures.c.code, failures.c.detail, items.c.model  # SQL clients can store anything
    query = (
        select(*columns, *(text_or_null(each).label(each.name) for each in words))
        .join(items, items.c.id == failures.c.item_id)
        .where(items.c.status == Status.FAILED)
        .order_by(failures.c.item_id.desc(), failures.c.model_id.desc())
        .limit(FAILURES_PAGE)
    )
    if code is not None:
        query = query.where(failures.c.code == code)
    if model is not None:
        query = query.where(items.c.model == model)
    page = connection.execute(query).all()
    yield from page
    while len(page) == FAILURES_PAGE:
        before = page[-1]
        same_item = and_(
            failures.c.item_id == before.item_id, failures.c.model_id < before.model_id
        )
        older = or_(failures.c.item_id < before.item_id, same_item)
        page = connection.execute(query.where(older)).all()
        yield from page
