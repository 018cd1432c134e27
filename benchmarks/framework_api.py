"""FastAPI without a database, `uvicorn benchmarks.framework_api:app`: what the framework costs.

The endpoints read and parse what the product's read and parse, and answer as many bytes, but know
no database: ids come from a counter, items and pages are constants.
"""

import os
from itertools import count

import orjson
from fastapi import FastAPI, Request, Response

ITEM = os.environ["BENCHMARK_ITEM"].encode()
PAGE = os.environ["BENCHMARK_PAGE"].encode()

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


@app.get("/items")
async def list_items(limit: int = 100) -> Response:
    return _json(PAGE)


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")
