"""Which items of a range are to be predicted: those that are pending, or those of a backfill."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists

from batchline.constants import Status
from batchline.db.dialects.types import same_text
from batchline.db.models import failures, items, predictions

Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """The pending items. The active version of their model predicts them."""

    def within(self, first_id: int, last_id: int) -> Conditions:
        """Return the conditions for an unpredicted item of this range."""
        return items.c.status == Status.PENDING, items.c.id.between(first_id, last_id)


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

    def within(self, first_id: int, last_id: int) -> Conditions:
        conditions = [
            items.c.id.between(first_id, last_id),
            same_text(items.c.model, self.model),
            items.c.status == self.status,
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
