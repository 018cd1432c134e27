"""Statements that read stored predictions together with the data that they are for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from batchline.constants import FINISHED
from batchline.db.dialects.types import among, raw_text, text_or_null
from batchline.db.models import items, predictions
from batchline.db.scope import IdRange


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction with its item's data and model as they are now, all as JSON text."""

    item_id: int
    data: str | bytes | None
    model: str | bytes | None
    prediction: str
    label: str | bytes | None


def id_range(connection: Connection, model_id: int, since: datetime | None) -> IdRange | None:
    """Return the lowest and the highest item id with a prediction by this version, or None."""
    ends = func.min(predictions.c.item_id), func.max(predictions.c.item_id)
    first, last = connection.execute(select(*ends).where(*_stored(model_id, since))).one()
    return None if first is None else IdRange(first, last)


def read_page(
    connection: Connection, model_id: int, after: int, limit: int, since: datetime | None
) -> list[StoredPrediction]:
    """Read predictions by this version with an item id above `after`, ordered by item id."""
    query = _predictions(model_id, since).where(predictions.c.item_id > after)
    found = connection.execute(query.order_by(predictions.c.item_id).limit(limit))
    return [StoredPrediction(*row) for row in found]


def read_some(
    connection: Connection, model_id: int, item_ids: Sequence[int], since: datetime | None
) -> list[StoredPrediction]:
    """Read the predictions of these items by this version."""
    query = _predictions(model_id, since).where(among(predictions.c.item_id, item_ids))
    return [StoredPrediction(*row) for row in connection.execute(query)]


def next_id(
    connection: Connection, model_id: int, item_id: int, since: datetime | None
) -> int | None:
    """Return the first item id from this one on with a prediction by this version, or None."""
    these = *_stored(model_id, since), predictions.c.item_id >= item_id
    query = select(predictions.c.item_id).where(*these).order_by(predictions.c.item_id)
    return connection.execute(query.limit(1)).scalar()


def _predictions(model_id: int, since: datetime | None) -> Select[Any]:
    # A client may have given other items new data, whose predictions are not there.
    columns = items.c.id, raw_text(items.c.data), text_or_null(items.c.model)
    return (
        select(*columns, predictions.c.prediction, text_or_null(predictions.c.label))
        .join(items, items.c.id == predictions.c.item_id)
        .where(*_stored(model_id, since), items.c.status.in_(FINISHED))
    )


def _stored(model_id: int, since: datetime | None) -> list[ColumnElement[bool]]:
    by_version = predictions.c.model_id == model_id
    return [by_version] if since is None else [by_version, predictions.c.created_at >= since]
