"""Statements that store predictions and failures, and that retry failed items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, delete, exists, select, update

from batchline.constants import (
    BEFORE_ALL_IDS,
    FAILURE_DETAIL_MAX_CHARACTERS,
    PREDICTION_TOO_LARGE,
    Status,
)
from batchline.db.cruds.claim_lock import acquire_claim_lock
from batchline.db.dialects import packets
from batchline.db.dialects.inserts import insert_many
from batchline.db.dialects.types import among, not_indexed, utc_now
from batchline.db.models import failures, items, predictions
from batchline.errors import Failure


@dataclass(frozen=True, slots=True)
class VersionResults:
    """Results of items by one version: item id → JSON text, and item id → failure.

    `labels` are those of a classifier; an item with several rows has them as a JSON list.
    """

    model_id: int
    predictions: Mapping[int, str]
    failures: Mapping[int, Failure]
    labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def item_ids(self) -> list[int]:
        return [*self.predictions, *self.failures]

    def without(self, item_ids: set[int]) -> Self:
        """Return these results without those of some items."""
        return replace(
            self,
            predictions={i: text for i, text in self.predictions.items() if i not in item_ids},
            failures={i: failure for i, failure in self.failures.items() if i not in item_ids},
        )


def finish(connection: Connection, item_ids: Sequence[int], status: Status) -> int:
    """Give pending items another status, and return how many were pending.

    This locks their rows until the transaction ends.
    """
    if not item_ids:
        return 0
    # Only these ids: an item may have appeared in their range after the range was read.
    pending = among(items.c.id, item_ids), not_indexed(items.c.status) == Status.PENDING
    return connection.execute(update(items).where(*pending).values(status=status)).rowcount


def set_pending(connection: Connection, item_ids: Sequence[int]) -> None:
    """Make items pending again."""
    these = update(items).where(items.c.id.in_(item_ids))
    connection.execute(these.values(status=Status.PENDING))


def lock(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> int:
    """Lock items without changing them, and return how many fulfill the conditions."""
    return connection.execute(
        update(items).where(*conditions).values(status=items.c.status)
    ).rowcount


def insert(connection: Connection, results: VersionResults) -> None:
    """Insert predictions and failures.

    Raises:
        Conflict: one of the items has a result by this version.
    """
    insert_many(connection, "predictions", _prediction_columns(results))
    model_id = results.model_id
    failed = results.failures.values()
    columns: dict[str, Sequence[Any]] = {
        "item_id": list(results.failures),
        "model_id": [model_id] * len(failed),
        "code": [each.code for each in failed],
        "detail": [_storable(each.detail) for each in failed],
    }
    insert_many(connection, "failures", columns)


def storable(connection: Connection, results: VersionResults) -> VersionResults:
    """Return these results with a failure in place of each prediction that is too large."""
    if packets.max_values(connection) is None:
        return results
    found = packets.too_large(connection, _prediction_columns(results))
    if not found:
        return results
    item_ids = list(results.predictions)
    failed = {
        item_ids[place]: Failure(
            PREDICTION_TOO_LARGE,
            f"the prediction takes {size} bytes in a statement, and the database server's "
            f"max_allowed_packet is {packets.max_packet(connection)}",
        )
        for place, size in found.items()
    }
    return replace(results.without(set(failed)), failures={**results.failures, **failed})


def _prediction_columns(results: VersionResults) -> dict[str, Sequence[Any]]:
    texts = results.predictions
    columns: dict[str, Sequence[Any]] = {
        "item_id": list(texts),
        "model_id": [results.model_id] * len(texts),
        "label": list(map(results.labels.get, texts)),
        "prediction": list(texts.values()),
    }
    if not results.labels:
        del columns["label"]
    return columns


def _storable(detail: str) -> str:
    """Return a sentence as every database takes it: without NUL, and not too long."""
    return detail.replace("\0", "\\u0000")[:FAILURE_DETAIL_MAX_CHARACTERS]


def delete_results(connection: Connection, item_ids: Sequence[int]) -> None:
    """Delete the predictions and failures of items by all versions.

    They belong to what the items held before a client made them pending again.
    """
    for table in (predictions, failures):
        connection.execute(delete(table).where(among(table.c.item_id, item_ids)))


def mark_predicted(connection: Connection, item_ids: Sequence[int]) -> None:
    """Give failed items that now have a prediction the status succeeded."""
    if item_ids:
        failed = among(items.c.id, item_ids), not_indexed(items.c.status) == Status.FAILED
        connection.execute(update(items).where(*failed).values(status=Status.SUCCEEDED))


def retry_failed(
    connection: Connection,
    *,
    item_ids: Sequence[int],
    code: str | None,
    limit: int,
    after: int = BEFORE_ALL_IDS,
) -> Sequence[int]:
    """Make up to `limit` failed items pending, of these ids or this code if given.

    They are those that follow the item `after`. Returns their ids in order.
    """
    # Of two retries at once, the second would delete failures that are newer than its retry.
    acquire_claim_lock(connection)
    failed = exists().where(items.c.id == failures.c.item_id, items.c.status == Status.FAILED)
    query = select(failures.c.item_id).distinct().where(failed, failures.c.item_id > after)
    query = query.order_by(failures.c.item_id).limit(limit)
    if item_ids:
        query = query.where(failures.c.item_id.in_(item_ids))
    if code is not None:
        query = query.where(failures.c.code == code)
    found = connection.execute(query).scalars().all()
    if found:
        these = items.c.id.in_(found), not_indexed(items.c.status) == Status.FAILED
        again = {"status": Status.PENDING, "retried_at": utc_now()}
        connection.execute(update(items).where(*these).values(again))
        connection.execute(delete(failures).where(failures.c.item_id.in_(found)))
    return found
