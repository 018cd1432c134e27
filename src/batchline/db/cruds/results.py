"""Statements that store predictions and failures, and that retry failed items."""

from collections.abc import Collection, Sequence

from sqlalchemy import (
    Connection,
    delete,
    exists,
    select,
    update,
)

from batchline.constants import (
    Status,
)
from batchline.db.cruds.claim_lock import acquire_claim_lock
from batchline.db.dialects.inserts import insert_many
from batchline.db.models import (
    failures,
    items,
    predictions,
)
from batchline.db.scope import PENDING


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


def delete_results(
    connection: Connection, model_ids: Collection[int], first_id: int, last_id: int
) -> None:
    """Remove what pending items of a range have been answered before by these versions.

    Only a client that set their status back by hand can have made such items.
    """
    pending = select(items.c.id).where(*PENDING.within(first_id, last_id))
    of_models = predictions.c.model_id.in_(model_ids)
    connection.execute(delete(predictions).where(of_models, predictions.c.item_id.in_(pending)))
    connection.execute(delete(failures).where(failures.c.item_id.in_(pending)))


def mark_predicted(connection: Connection, item_ids: Sequence[int]) -> None:
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
    acquire_claim_lock(
        connection
    )  # of two at once, one would delete failures that are newer than its retry
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
