"""The endpoints that register items and read them."""

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

from batchline.api.fields import field
from batchline.api.filters import ItemQuery, PageQuery, to_filters
from batchline.api.keys import WHILE_OPEN, key_of
from batchline.api.requests import REFUSALS, to_key
from batchline.api.responses import json_response, known_problems
from batchline.api.schemas import (
    KEY_PATTERN,
    Item,
    Line,
    LinesRejected,
    LinesStored,
    Page,
    PredictRequest,
    Registered,
    UploadEnd,
)
from batchline.api.state import ApiState
from batchline.api.uploads import Upload
from batchline.constants import MAX_KEY_LENGTH, MAX_PAGE_BYTES
from batchline.db.cruds import items
from batchline.db.cruds.items import StoredItem
from batchline.errors import ItemNotFound
from batchline.metrics import REGISTRATION_SECONDS
from batchline.request_errors import InvalidIdempotencyKey
from batchline.request_ids import origin_of

router = APIRouter()

NOT_JSON = {
    "code": "prediction_not_json",
    "detail": "the stored prediction is not JSON, so another program has written it",
}
"""The error of an item with a prediction that would make the response invalid."""


PAGE_MEMBERS_BYTES = 100
"""Size of a page without items: `has_more`, `last_id` and brackets."""


BULK_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Each line is one of these objects. The last line has `done`.",
        "model": list[LinesStored | LinesRejected | UploadEnd],
    }
}


BULK_REQUEST = {
    "requestBody": {
        "required": False,
        "description": "Any number of lines. Each line is one of these objects.",
        "content": {
            Upload.media_type: {"schema": {"type": "array", "items": Line.model_json_schema()}}
        },
    }
}


KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_KEY_LENGTH,
    "pattern": KEY_PATTERN,
}


REQUEST = {
    "parameters": [
        {
            "name": "idempotency-key",
            "in": "header",
            "required": False,
            "schema": KEY,
            "description": "Makes the request safe to repeat: the same key returns the same id.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": PredictRequest.model_json_schema()}},
    },
}


@router.post(
    "/predict",
    status_code=202,
    response_model=Registered,
    responses=known_problems(400, 404, 408, 413, 422, 503),
    openapi_extra=REQUEST,
    tags=["predict"],
)
async def register(request: Request) -> Response:
    """Register an item. Once you have received its id, it is stored."""
    state: ApiState = request.app.state.api
    header = field(request.scope, b"idempotency-key")
    # White space around a header is not part of its value, but httptools leaves it at the end.
    key = None if header is None else header.decode("latin-1").strip(" \t")
    api_key = key_of(request.scope)
    body = await state.bodies.read(request)
    began = time.perf_counter()
    try:
        item = await state.check(body)
    except REFUSALS:
        known = None if key is None else await state.find(key, body, api_key)
        if known is None:
            raise
        return _registered(known)
    finally:
        state.bodies.release(body)
    origin = origin_of(request.scope)
    item_id = await state.register(item, to_key(key, item), api_key, origin)
    REGISTRATION_SECONDS.observe(time.perf_counter() - began)
    return _registered(item_id)


def _registered(item_id: int) -> Response:
    location = (b"location", b"/predict/id/%d" % item_id)
    return json_response({"id": item_id}, status=202, headers=[location])


@router.get(
    "/predict/id/{item_id}",
    response_model=Item,
    responses=known_problems(404, 422, 503),
    tags=["predict"],
)
async def read_item(
    request: Request,
    item_id: int,
    query: Annotated[ItemQuery, Query()],
) -> Response:
    """Read an item. Its `prediction` is null until a run has predicted it."""
    state: ApiState = request.app.state.api
    version = query.version
    record = await state.item_reader.item(item_id, version)
    if record is None:
        of_version = "" if version is None else f" and a result by version {version}"
        hint = "leave ?version= out" if of_version else "use an id that POST /predict returned"
        raise ItemNotFound(f"no item has the id {item_id}{of_version}", hint=hint)
    return json_response(_item(record))


@router.get("/items", response_model=Page, responses=known_problems(422, 503), tags=["items"])
def list_items(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
    """Read items page by page, ordered by id, or by time if filtered by it."""
    state: ApiState = request.app.state.api
    filters = to_filters(query)
    with state.database.read() as connection:
        page = items.list_page(connection, filters, after=query.after, limit=query.limit)
        page = items.load_large_predictions(connection, page, MAX_PAGE_BYTES)
    return _page(page)


def _page(found: items.Page) -> Response:
    """Return as many items as `MAX_PAGE_BYTES` hold, and at least one."""
    fitting: list[StoredItem] = []
    texts: list[orjson.Fragment] = []
    size = PAGE_MEMBERS_BYTES
    for record in found.items:
        text = orjson.dumps(_item(record), option=orjson.OPT_UTC_Z)
        size += len(text) + len(",")
        if fitting and size > MAX_PAGE_BYTES:
            found = items.Page(fitting, has_more=True, last_id=fitting[-1].id)
            break
        fitting.append(record)
        texts.append(orjson.Fragment(text))
    page = {"items": texts, "has_more": found.has_more, "last_id": found.last_id}
    return json_response(page)


@router.post(
    "/items",
    status_code=200,
    response_class=Upload,
    responses=BULK_ANSWER | known_problems(400, 408, 503),
    openapi_extra=BULK_REQUEST,
    tags=["items"],
)
async def register_lines(request: Request) -> Upload:
    """Register one item per line. A long body is stored while it arrives."""
    state: ApiState = request.app.state.api
    if field(request.scope, b"idempotency-key") is not None:
        raise InvalidIdempotencyKey(
            "an upload cannot have the header Idempotency-Key",
            hint="give each line an idempotency_key instead",
        )
    owner, while_open = state.owner_of(request.scope), request.scope.get(WHILE_OPEN)
    origin = origin_of(request.scope)
    return Upload(state.uploads, state.signatures.latest, owner, while_open, origin)


def _item(record: StoredItem) -> dict[str, Any]:
    prediction, error = _result_of(record)
    return {
        "id": record.id,
        "custom_id": items.text_of(record.custom_id),
        "status": record.status,
        "label": None if prediction is None else label_of(record),
        "prediction": prediction,
        "error": error,
        "model": items.text_of(record.model),
        "version": record.version,
        "created_at": record.created_at,
        "finished_at": record.finished_at,
    }


def _result_of(record: StoredItem) -> tuple[orjson.Fragment | None, dict[str, Any] | None]:
    """Return the prediction and the error of an item, one of which is None."""
    if record.prediction is not None:
        if _is_json(record.prediction):
            return orjson.Fragment(record.prediction), None
        return None, NOT_JSON
    if not record.code:
        return None, None
    return None, {"code": items.text_of(record.code), "detail": items.text_of(record.detail)}


def label_of(record: StoredItem) -> str | list[str | None] | None:
    """Return the label of an item with one row, or the list of those of several rows."""
    label = items.text_of(record.label)
    several = (record.prediction or "")[:1] in ("[", b"[")
    if label is None or not several or not _is_json(label):  # else a client has written it
        return label
    found = orjson.loads(label)
    is_list = isinstance(found, list) and all(isinstance(each, str | None) for each in found)
    return found if is_list else label


def _is_json(text: str | bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
