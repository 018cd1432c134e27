"""Bodies of requests and responses, as OpenAPI shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from batchline.constants import DEFAULT_MODEL, MAX_KEY_LENGTH, MAX_ROWS_PER_ITEM, Status

Rows = Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS_PER_ITEM)]
Data = Rows | dict[str, Any]
"""Rows of the one input, or for each input its rows (or its value, where it has none)."""


class PredictRequest(BaseModel):
    """Rows to predict: one row is what the model takes, for iris four numbers."""

    model_config = ConfigDict(extra="forbid")

    data: Data = Field(examples=[[[5.1, 3.5, 1.4, 0.2]]])
    model: str = Field(DEFAULT_MODEL, description="its name, see GET /models")


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
    hint: str | None = Field(None, description="what to do about it")
    errors: list[ProblemError] | None = None


class Line(BaseModel):
    """A line of `POST /items`: what `POST /predict` takes, with its Idempotency-Key inside."""

    model_config = ConfigDict(extra="forbid")

    data: Data = Field(examples=[[[5.1, 3.5, 1.4, 0.2]]])
    model: str = Field(DEFAULT_MODEL, description="its name, see GET /models")
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


class LinesRejected(BaseModel):
    """Each of these lines is refused, and not stored."""

    lines: Pair = Field(description="the first and the last", examples=[[1001, 1001]])
    error: LineError


class UploadEnd(BaseModel):
    """The last line of the answer, without which it is not whole."""

    done: bool = Field(description="whether all lines were answered")
    lines: int = Field(description="how many were answered, blank ones counted")
    registered: int
    rejected: int
    from_line: int | None = Field(None, description="from here on nothing was stored")
    maybe_stored: Pair | None = Field(None, description="lines whose COMMIT was not confirmed")
    error: LineError | None = None


class ModelInput(BaseModel):
    """One input of a model; a text in its shape is the name of a free axis."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: list[int | str] = Field(description="of one row", examples=[[4]])
    per_item: bool = Field(description="whether it is given once an item, without rows")


class ModelOutput(BaseModel):
    """One output of a model."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: list[int | str] = Field(examples=[[3]])
    per_row: bool


class ModelBatching(BaseModel):
    """How many rows one call takes, as was proven when the model was added."""

    size: int | None = Field(description="null: any number")
    axis: bool
    row_bytes: int
    difference: float | None = Field(description="the largest between a row alone and in company")
    reason: str


class Model(BaseModel):
    """The active version of a model."""

    name: str = Field(examples=["default"])
    version: int = Field(examples=[1])
    sha256: str
    created_at: datetime | None
    inputs: list[ModelInput]
    outputs: list[ModelOutput]
    labels: list[str] | None
    batching: ModelBatching | None
    example: PredictRequest
    versions: list[int] | None = None


class Models(BaseModel):
    """All models."""

    models: list[Model]


class V2Server(BaseModel):
    """Open Inference Protocol: metadata of the server."""

    name: str
    version: str
    extensions: list[str]


class V2Live(BaseModel):
    """Open Inference Protocol: liveness."""

    live: bool


class V2Ready(BaseModel):
    """Open Inference Protocol: readiness."""

    ready: bool


class V2Tensor(BaseModel):
    """Open Inference Protocol: a tensor; -1 is an axis of any size."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[-1, 4]])


class V2Model(BaseModel):
    """Open Inference Protocol: metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[V2Tensor]
    outputs: list[V2Tensor]
