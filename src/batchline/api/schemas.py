"""Bodies of requests and responses, as OpenAPI shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from batchline.constants import MAX_KEY_LENGTH, MAX_ROWS_PER_ITEM, Status


class PredictRequest(BaseModel):
    """Rows to predict: one row is what the model takes, for iris four numbers."""

    model_config = ConfigDict(extra="forbid")

    data: list[Any] = Field(
        min_length=1, max_length=MAX_ROWS_PER_ITEM, examples=[[[5.1, 3.5, 1.4, 0.2]]]
    )


class Registered(BaseModel):
    """The item is stored, and will be predicted."""

    id: int = Field(examples=[1])


class ItemError(BaseModel):
    """Why an item has no prediction."""

    code: str = Field(examples=["invalid_data"])
    detail: str = Field(examples=["data/0: the model takes 4 values here, got 3"])


class Item(BaseModel):
    """An item and what became of it."""

    id: int = Field(examples=[1])
    status: Status
    prediction: Any = Field(
        description="null until it is predicted; for one row its result, for several a list",
        examples=[{"setosa": 0.97, "versicolor": 0.02, "virginica": 0.01}],
    )
    error: ItemError | None
    model: str | None = Field(examples=["default"])
    version: int | None = Field(examples=[1])
    created_at: datetime | None
    finished_at: datetime | None


class Page(BaseModel):
    """Items in the order of their ids; for the next page ask for those `after` the `last_id`."""

    items: list[Item]
    has_more: bool
    last_id: int | None


class Health(BaseModel):
    """The service is up."""

    status: str = Field(examples=["ok"])


class ProblemError(BaseModel):
    """One fault of a request."""

    pointer: str = Field(description="JSON pointer into the body", examples=["/data/0/2"])
    code: str = Field(examples=["not_a_number"])
    detail: str = Field(examples=["expected a number, got true"])


class Problem(BaseModel):
    """An error as of RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["The model cannot take this data"])
    status: int = Field(examples=[422])
    detail: str
    code: str = Field(examples=["invalid_data"])
    errors: list[ProblemError] | None = None


class Line(BaseModel):
    """A line of `POST /items`: what `POST /predict` takes, with its Idempotency-Key inside."""

    model_config = ConfigDict(extra="forbid")

    data: list[Any] = Field(
        min_length=1, max_length=MAX_ROWS_PER_ITEM, examples=[[[5.1, 3.5, 1.4, 0.2]]]
    )
    idempotency_key: (
        Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH, pattern="^[ -~]+$")] | None
    ) = Field(None, examples=["flower-1"])


Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class LinesStored(BaseModel):
    """Each of these lines is stored; lines and ids grow evenly."""

    lines: Pair = Field(description="the first and the last", examples=[[1, 1000]])
    ids: Pair = Field(description="of the first and of the last line", examples=[[17, 1016]])
    step: int | None = Field(None, description="from id to id, where it is not 1", examples=[3])


class LineError(BaseModel):
    """Why lines are not stored."""

    code: str = Field(examples=["invalid_data"])
    detail: str | None = Field(None, description="left out after the first 1,000 refused lines")
    errors: list[ProblemError] | None = Field(None, description="pointers into the line")


class LinesRefused(BaseModel):
    """Each of these lines is refused, and not stored."""

    lines: Pair = Field(description="the first and the last", examples=[[1001, 1001]])
    error: LineError


class UploadEnd(BaseModel):
    """The last line of the answer, without which it is not whole."""

    done: bool = Field(description="whether all lines were answered")
    lines: int = Field(description="how many were answered, blank ones counted")
    registered: int
    refused: int
    from_line: int | None = Field(None, description="from here on nothing was stored")
    maybe_stored: Pair | None = Field(None, description="lines whose COMMIT was not confirmed")
    error: LineError | None = None
