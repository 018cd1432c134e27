"""FastAPI without a database, `uvicorn benchmarks.framework_api:app`: what the framework costs.

The endpoints read and parse what the product's read and parse, and answer the same, but know no
database: ids come from a counter, an item is a constant text, and a page is a list in memory that
the framework checks and writes out as it does by itself.
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
