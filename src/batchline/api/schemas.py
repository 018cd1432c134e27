"""Request and response bodies, as OpenAPI shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from batchline.constants import (
    DEFAULT_MODEL,
    MAX_CUSTOM_ID_LENGTH,
    MAX_KEY_LENGTH,
    MAX_ROWS_PER_ITEM,
    Status,
)

Rows = Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS_PER_ITEM)]
Data = Rows | dict[str, Any]
"""A list of rows, one record, or columns: name → values."""


KEY_PATTERN = "^[!-~]([ -~]*[!-~])?$"
"""Printable ASCII without a space at either end, since no header can carry such a space."""


CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
CUSTOM_ID_PATTERN = rf"^[^\s{CONTROL}]([^{CONTROL}]*[^\s{CONTROL}])?$"
"""No control characters or line separators, and no white space at either end: not every database
can store and compare them. JSON cannot carry half of a surrogate pair."""

CustomId = (
    Annotated[str, Field(min_length=1, max_length=MAX_CUSTOM_ID_LENGTH, pattern=CUSTOM_ID_PATTERN)]
    | None
)

EXTRA: Any = Field(
    default_factory=lambda: "ignore",
    description="leave out the names that the model does not have; otherwise they are rejected",
)
"""Not a default, which OpenAPI would show: without the field, other names are rejected."""


class PredictRequest(BaseModel):
    """Rows to predict: as objects, feature or input name → value, or nested like the input.

    `GET /models/{name}` shows an example for each model.
    """

    model_config = ConfigDict(extra="forbid")

    data: Data = Field(examples=[[{"age": 47, "job": "clerk"}], [[5.1, 3.5, 1.4, 0.2]]])
    model: str = Field(DEFAULT_MODEL, description="name of the model, see GET /models")
    custom_id: CustomId = Field(
        None,
        description="your own id; several items may share it",
        examples=["flower-1"],
    )
    extra: Literal["ignore"] = EXTRA


class Registered(BaseModel):
    """The id of a stored item."""

    id: int = Field(examples=[1])


class ItemError(BaseModel):
    """Why an item has no prediction."""

    code: str = Field(examples=["invalid_data"])
    detail: str = Field(examples=["data/0: expected 4 values, got 3"])


class Item(BaseModel):
    """An item with its result."""

    id: int = Field(examples=[1])
    custom_id: str | None = Field(description="the client's own id", examples=["flower-1"])
    status: Status
    label: str | list[str | None] | None = Field(
        description="a classifier's own class; a list for several rows", examples=["setosa"]
    )
    prediction: Any = Field(
        description="null until the item is predicted; an object for one row, a list for several",
        examples=[{"setosa": 0.97, "versicolor": 0.02, "virginica": 0.01}],
    )
    error: ItemError | None
    model: str | None = Field(examples=["default"])
    version: int | None = Field(examples=[1])
    created_at: datetime | None
    finished_at: datetime | None


class Page(BaseModel):
    """Items ordered by id. Pass `last_id` as `after` to get the next page."""

    items: list[Item]
    has_more: bool
    last_id: int | None


class Health(BaseModel):
    """The state of the service."""

    status: str = Field(examples=["ok"])


class ProblemError(BaseModel):
    """A validation error."""

    pointer: str = Field(description="JSON pointer into the body", examples=["/data/0/2"])
    code: str = Field(examples=["not_a_number"])
    detail: str = Field(examples=["expected a number, got true"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["The data is invalid for the model"])
    status: int = Field(examples=[422])
    detail: str
    code: str = Field(examples=["invalid_data"])
    hint: str | None = Field(None, description="what to do about it")
    errors: list[ProblemError] | None = None


class Line(BaseModel):
    """A line of `POST /items`: a body of `POST /predict`, with its idempotency key."""

    model_config = ConfigDict(extra="forbid")

    data: Data = Field(examples=[[{"age": 47, "job": "clerk"}], [[5.1, 3.5, 1.4, 0.2]]])
    model: str = Field(DEFAULT_MODEL, description="name of the model, see GET /models")
    custom_id: CustomId = Field(
        None,
        description="your own id; several items may share it",
        examples=["flower-1"],
    )
    extra: Literal["ignore"] = EXTRA
    idempotency_key: (
        Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH, pattern=KEY_PATTERN)] | None
    ) = Field(None, examples=["flower-1"])


Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class LinesStored(BaseModel):
    """Lines that are stored. From line to line, the id grows by `step`."""

    lines: Pair = Field(description="first and last line", examples=[[1, 1000]])
    ids: Pair = Field(description="ids of the first and the last line", examples=[[17, 1016]])
    step: int | None = Field(
        None, description="difference between two ids, if it is not 1", examples=[3]
    )


class LineError(BaseModel):
    """Why lines were not stored."""

    code: str = Field(examples=["invalid_data"])
    detail: str | None = Field(None, description="left out after the first 1,000 rejected lines")
    hint: str | None = Field(None, description="what to do about it")
    errors: list[ProblemError] | None = Field(None, description="pointers into the line")


class LinesRejected(BaseModel):
    """Lines that were rejected, all with the same error."""

    lines: Pair = Field(description="first and last line", examples=[[1001, 1001]])
    error: LineError


class UploadEnd(BaseModel):
    """The last line of the response. If it is missing, the response is incomplete."""

    done: bool = Field(description="whether the response covers all lines")
    lines: int = Field(description="lines that the response covers, blank ones included")
    registered: int
    rejected: int
    from_line: int | None = Field(
        None, description="the first line that the response does not cover"
    )
    maybe_stored: Pair | None = Field(
        None, description="first and last line that may have been stored"
    )
    error: LineError | None = None


class ModelInput(BaseModel):
    """One input of a model. A string in its shape names a dynamic dimension."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: list[int | str] = Field(description="shape of one row", examples=[[4]])
    per_item: bool = Field(description="whether you send it once per item, not once per row")
    axis: int = Field(description="the batch dimension of the model's tensor", examples=[0])
    missing: list[bool] = Field(
        description="whether null is accepted: one flag for all values, or one for each value of a "
        "row; empty if it never is",
        examples=[[True, False, False, True]],
    )
    missing_text: str | None = Field(description="the string that the model gets for null")


class ModelOutput(BaseModel):
    """One output of a model."""

    name: str
    dtype: str = Field(examples=["float32"])
    shape: list[int | str] = Field(examples=[[3]])
    per_row: bool = Field(description="whether it has an entry per row")
    axis: int = Field(description="the batch dimension of the model's tensor", examples=[0])
    listed: bool = Field(description="whether it is a sequence of tensors with a batch dimension")
    constant: bool = Field(description="whether it is the same for each row")


class ModelBatching(BaseModel):
    """How many rows a job passes to the model in one call."""

    size: int | None = Field(description="rows per call; null for any number")
    axis: bool
    row_bytes: int
    difference: float | None = Field(
        description="largest difference between a row's unbatched and batched prediction"
    )
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
    probabilities: str | None = Field(
        description="name of the output with the probabilities of the labels"
    )
    label: str | None = Field(description="name of the output with the classifier's own label")
    label_values: list[str] | None = Field(
        description="values of that output by class, if they are not the labels"
    )
    features: list[str] | None = Field(
        description="names of the values of a row, if there is one input and they are known",
        examples=[["age", "income"]],
    )
    batching: ModelBatching | None
    notes: list[str] = Field(description="what the validation found out, in words")
    example: PredictRequest | None = Field(description="null if a row has many values")
    versions: list[int] | None = None


class Models(BaseModel):
    """The active version of each model."""

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
    """Open Inference Protocol: a tensor. -1 is a dimension of any size."""

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
