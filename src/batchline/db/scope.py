"""Which items of a range are to be predicted: pending ones of a lane, or those of a backfill."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, exists

from batchline.constants import Status
from batchline.db.dialects.types import not_indexed, same_text
from batchline.db.models import failures, items, predictions


class IdRange(NamedTuple):
    """The ids from `first` to `last`, both included."""

    first: int
    last: int


Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """The pending items of a lane. The active version of their model predicts them.

    Without a lane, it is those of all lanes: jobs of schema 0003 claim them without regard to it.
    """

    lane: int | None = field(default=None, kw_only=True)

    def within(self, first_id: int, last_id: int) -> Conditions:
        """Return the conditions for an unpredicted item of this range and lane."""
        ids = items.c.id.between(first_id, last_id)
        if self.lane is None:
            return (*self.unpredicted(), ids)
        return items.c.status == Status.PENDING, items.c.lane == self.lane, ids

    def unpredicted(self) -> Conditions:
        """Return the conditions for an unpredicted item that its id finds, whatever its lane is."""
        return (not_indexed(items.c.status) == Status.PENDING,)


PENDING = Scope()


@dataclass(frozen=True, slots=True)
class Backfill(Scope):
    """Items of one model that one of its versions predicts too."""

    id: int
    model: str
    model_id: int
    status: str
    since: datetime | None
    until: datetime | None

    def unpredicted(self) -> Conditions:
        conditions = [
            same_text(items.c.model, self.model),
            not_indexed(items.c.status) == self.status,
            ~exists().where(
                predictions.c.item_id == items.c.id, predictions.c.model_id == self.model_id
            ),
            ~exists().where(failures.c.item_id == items.c.id, failures.c.model_id == self.model_id),
        ]
        if self.since is not None:
            conditions.append(items.c.created_at >= self.since)
        if self.until is not None:
            conditions.append(items.c.created_at < self.until)
        return tuple(conditions)
