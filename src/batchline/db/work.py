"""Read the items of a claim and store their results, for the job that holds the claim.

Other clients may change an item while it is predicted. So the store marks the items first, which
locks them, then reads model and data again and compares. It stores a result only if the item still
has the model and the data that the result is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from batchline.constants import CLAIM_MAX_BYTES, STORE_ATTEMPTS, Status
from batchline.db import backfills, claims
from batchline.db.claims import Claim
from batchline.db.cruds import pending, results
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.dialects.types import among
from batchline.db.models import items as items_table
from batchline.db.scope import Backfill, IdRange
from batchline.errors import ClaimLost


@dataclass(frozen=True, slots=True)
class ClaimedItems:
    """The items of a claim as they were read. The claim is shorter if they were too large."""

    claim: Claim
    items: list[ModelItems]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Items as they were read, with their results by one version.

    An item of `items` without a result is left for later.
    """

    items: ModelItems
    results: VersionResults


class ItemsChanged(Exception):
    """Items that were unpredicted when they were read are gone, or have another status."""


@dataclass(frozen=True, slots=True)
class Late:
    """Items of a claim at which the model took too long, or must not be loaded.

    Args:
        suspects: items to be predicted in isolation.
        put_off: items that were in isolation, and come again after the other suspects.
    """

    suspects: Sequence[int] = ()
    put_off: Sequence[int] = ()


NOT_LATE = Late()


def read(database: Database, claim: Claim, likely_model: str | None = None) -> ClaimedItems:
    """Read the claimed items; if they are too large for the memory, their first part.

    Args:
        likely_model: try this model first. A wrong guess costs one more statement.

    Raises:
        ClaimLost: the claim had to be shortened, but had expired.
    """
    ids = claim.ids
    with database.read() as connection:
        if likely_model is not None:
            small = pending.read_small(connection, ids, claim.scope, likely_model)
            if small is not None:
                return ClaimedItems(claim, [small])
        summary = pending.summarize_range(connection, ids, claim.scope)
        if summary.size <= CLAIM_MAX_BYTES:
            return ClaimedItems(claim, _read_items(connection, claim, summary.model))
        last = pending.last_within(connection, ids, CLAIM_MAX_BYTES, claim.scope)
    shorter = database.transaction(lambda connection: _shorten(connection, claim, last))
    with database.read() as connection:
        return ClaimedItems(shorter, _read_items(connection, shorter, summary.model))


def store(
    database: Database,
    claim: Claim,
    predicted: Sequence[Predicted],
    until: int | None,
    late: Late = NOT_LATE,
) -> list[VersionResults]:
    """Store results and complete the claim. Return those that were stored.

    Items that other clients changed meanwhile are left as they are, to be predicted later.

    Args:
        until: the last id with a result, if not all claimed items have one.
        late: items without a result, because the model took too long.

    Raises:
        ClaimLost: the claim expired, or other clients kept changing its items. Nothing was stored.
        CommitUnknown: the results may be stored; see `is_stored`.
        DatabaseUnavailable: nothing was stored.
    """
    for _ in range(STORE_ATTEMPTS):
        try:
            return database.transaction(
                partial(store_in, claim=claim, predicted=predicted, until=until, late=late)
            )
        except ItemsChanged:
            with database.read() as connection:
                predicted = _unchanged(connection, claim, predicted)
    raise ClaimLost(
        f"other clients kept changing the items {claim.first_id} to {claim.last_id}",
        hint="the items are predicted again; this job's results were not stored",
    )


def is_stored(database: Database, claim: Claim, predicted: Sequence[Predicted]) -> bool:
    """Find out whether a COMMIT that was not confirmed has stored the results: all or none."""
    with database.read() as connection:
        return not _still_unpredicted(connection, claim, predicted)


def _read_items(connection: Connection, claim: Claim, model: str | None) -> list[ModelItems]:
    ids = claim.ids
    return pending.read_unpredicted(connection, ids, claim.scope, model)


def _shorten(connection: Connection, claim: Claim, last_id: int) -> Claim:
    claims.hold(connection, claim)
    return claims.shorten(connection, claim, last_id)


def store_in(
    connection: Connection,
    claim: Claim,
    predicted: Sequence[Predicted],
    until: int | None = None,
    late: Late = NOT_LATE,
) -> list[VersionResults]:
    """Store results and complete the claim in a transaction that has begun; see `store`.

    Raises:
        ItemsChanged: an item is gone or no longer unpredicted. Roll back, and look again.
    """
    claims.hold(connection, claim)
    predicted = [
        replace(each, results=results.storable(connection, each.results)) for each in predicted
    ]
    _mark(connection, claim, [each.results for each in predicted])
    changed = {item_id for each in predicted for item_id in _changed(connection, each)}
    stored = [each.results.without(changed) if changed else each.results for each in predicted]
    item_ids = [item_id for each in stored for item_id in each.item_ids]
    if isinstance(claim.scope, Backfill):
        _store_backfill(connection, claim, stored, changed)
    else:
        if changed:
            results.set_pending(connection, sorted(changed))
        if item_ids:
            results.delete_results(connection, item_ids)
        for each in stored:
            results.insert(connection, each)
    if until is not None:
        claim = claims.shorten(connection, claim, until)
    if late.suspects:
        ids = IdRange(min(late.suspects), max(late.suspects))
        claims.leave_unowned(connection, ids, claim.scope)
    for item_id in late.put_off:
        claims.put_off(connection, item_id, claim.scope)
    claims.complete(connection, claim)
    if isinstance(claim.scope, Backfill):
        backfills.end_if_done(connection, claim.scope.id)
    return stored


def _mark(connection: Connection, claim: Claim, found: Sequence[VersionResults]) -> None:
    """Give the items the status that their results imply, which locks them."""
    item_ids = [item_id for each in found for item_id in each.item_ids]
    if not item_ids:
        return
    if isinstance(claim.scope, Backfill):
        these = among(items_table.c.id, item_ids)
        marked = results.lock(connection, [these, *claim.scope.unpredicted()])
    else:
        succeeded = [item_id for each in found for item_id in each.predictions]
        failed = [item_id for each in found for item_id in each.failures]
        marked = results.finish(connection, succeeded, Status.SUCCEEDED)
        marked += results.finish(connection, failed, Status.FAILED)
    if marked != len(item_ids):
        raise ItemsChanged


def _changed(connection: Connection, predicted: Predicted) -> set[int]:
    """The items that no longer have the model or the data that they were predicted with."""
    texts, item_ids = predicted.items.texts, predicted.results.item_ids
    if len(item_ids) < len(texts):
        texts = {item_id: texts[item_id] for item_id in sorted(item_ids)}
    return pending.changed(connection, replace(predicted.items, texts=texts))


def _store_backfill(
    connection: Connection, claim: Claim, stored: Sequence[VersionResults], changed: set[int]
) -> None:
    """Store results beside those that the items have."""
    for each in stored:
        results.insert(connection, each)
        results.mark_predicted(connection, list(each.predictions))
    if changed:  # the backfill has passed them, so they need a claim that somebody takes
        claims.leave_unowned(connection, IdRange(min(changed), max(changed)), claim.scope)


def _unchanged(
    connection: Connection, claim: Claim, predicted: Sequence[Predicted]
) -> list[Predicted]:
    """The results of the items that are still unpredicted."""
    unpredicted = _still_unpredicted(connection, claim, predicted)
    return [
        replace(each, results=each.results.without(set(each.results.item_ids) - unpredicted))
        for each in predicted
    ]


def _still_unpredicted(
    connection: Connection, claim: Claim, predicted: Sequence[Predicted]
) -> set[int]:
    # By their ids: an item whose lane a client changed is not among the claim's any more.
    item_ids = [item_id for each in predicted for item_id in each.results.item_ids]
    return pending.still_unpredicted(connection, item_ids, claim.scope)
