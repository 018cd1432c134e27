"""The health endpoints."""

import asyncio

from fastapi import APIRouter, Request, Response

from batchline.api.responses import json_response, known_problems
from batchline.api.schemas import (
    Health,
)
from batchline.api.state import ApiState
from batchline.db.insights import State
from batchline.errors import PredictionsLate

router = APIRouter()


@router.get("/health/live", response_model=Health, tags=["health"])
async def live() -> Response:
    """Return 200 as long as the process runs."""
    return json_response({"status": "ok"})


@router.get("/health/ready", response_model=Health, responses=known_problems(503), tags=["health"])
async def ready(request: Request) -> Response:
    """Return 200 if the database responds, its schema fits this version, and it stores items.

    It writes nothing. If the database has rejected what this process was to store, as one that is
    read-only or full does, it returns 503 for half a minute, or until something is stored.
    """
    state: ApiState = request.app.state.api
    await state.check_ready()
    return json_response({"status": "ok"})


@router.get("/health/batch", response_model=Health, responses=known_problems(503), tags=["health"])
async def batch(request: Request) -> Response:
    """Return 200 if predictions come in time, and 503 if they are late or failing."""
    state: ApiState = request.app.state.api
    found = await asyncio.to_thread(state.insights.latest)
    assessed = found.assess(state.late_after)
    if assessed.state is not State.OK:
        raise PredictionsLate(assessed.reason, hint="run `batchline status`")
    return json_response({"status": "ok"})
