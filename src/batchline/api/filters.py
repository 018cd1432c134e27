"""The parameters of requests that read items. Unknown ones are rejected."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from batchline.constants import (
    MAX_CUSTOM_ID_LENGTH,
    MAX_CUSTOM_IDS,
    MAX_PAGE_ITEMS,
    Status,
)
from batchline.db.cruds.pages import Filters
from batchline.request_errors import UnsupportedFilters

KINDS = "status, model, custom_id, code, or created_after and created_before"


def _to_utc(text: object) -> datetime:
    """Parse ISO 8601. A time without a zone is UTC."""
    try:
        time = datetime.fromisoformat(str(text))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time in ISO 8601, such as 2026-01-31T12:00:00Z") from None


Time = Annotated[
    datetime,
    BeforeValidator(_to_utc),
    Field(description="ISO 8601, exclusive; without a zone it is UTC; write a + as %2B"),
]
Word = Annotated[str, Field(max_length=MAX_CUSTOM_ID_LENGTH, pattern=r"^[^\x00]*$")]


class ItemQuery(BaseModel):
    """The parameters of `GET /predict/id/{item_id}`."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        None, description="version to read; default: the active one"
    )


class PageQuery(BaseModel):
    """The parameters of `GET /items`."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    model: Word | None = None
    custom_id: list[Word] = Field([], max_length=MAX_CUSTOM_IDS, description="can be repeated")
    code: Word | None = Field(None, description="failed items with this error code")
    created_after: Time | None = None
    created_before: Time | None = None
    order: Literal["asc", "desc"] = "asc"
    limit: int = Field(100, ge=1, le=MAX_PAGE_ITEMS)
    after: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        None, description="the `last_id` of the previous page"
    )


def to_filters(query: PageQuery) -> Filters:
    """Return the filters of a page.

    Raises:
        UnsupportedFilters: no index has the items of this combination in order.
    """
    by_time = query.created_after or query.created_before
    used = [
        name
        for name, value in {
            "status": query.status,
            "model": query.model,
            "custom_id": query.custom_id or None,
            "code": query.code,
            "created_after or created_before": by_time,
        }.items()
        if value is not None
    ]
    if len(used) > 1:
        raise UnsupportedFilters(
            f"items cannot be filtered by {' and '.join(used)} at once",
            hint=f"use one of these: {KINDS}",
        )
    return Filters(
        status=query.status,
        model=query.model,
        custom_ids=query.custom_id,
        code=query.code,
        created_after=query.created_after,
        created_before=query.created_before,
        descending=query.order == "desc",
    )
