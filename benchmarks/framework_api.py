"""FastAPI without a database, to measure the framework: `uvicorn benchmarks.framework_api:app`.

The endpoints parse the same requests as Batchline and return the same responses. Ids come from a
counter, an item is a constant, and a page is a list that FastAPI validates and serializes in its
usual way.
"""

import os
from itertools import count
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

from batchline.api.schemas import Page

ITEM = os.environ["BENCHMARK_ITEM"].encode()
PAGE = orjson.loads(os.environ["BENCHMARK_PAGE"])

app = FastAPI()
ids = count(1)


@app.post("/predict", status_code=202)
async def register(request: Request) -> Response:
    rows = orjson.loads(await request.body())["data"]
    assert len(rows) == 1
    return _json(orjson.dumps({"id": next(ids)}), 202)


@app.get("/predict/id/{item_id}")
async def read_item(item_id: int) -> Response:
    return _json(ITEM)


@app.get("/items", response_model=Page)
async def list_items(limit: int = 100) -> Any:
    return PAGE


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")
