"""The endpoint for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request, Response

from batchline.api.shared_state import SharedState

router = APIRouter()

FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The metrics, in the format that `Accept` asks for.",
        "content": {"text/plain": {}, "application/openmetrics-text": {}},
    }
}


@router.get("/metrics", response_class=Response, responses=FORMATS, tags=["health"])
async def read_metrics(request: Request) -> Response:
    """Return the metrics for Prometheus. The reference describes each of them.

    If the database does not answer within a second, the metrics that come from it are left out.
    """
    state: SharedState = request.app.state.api
    text, media_type = await state.scrapes.text(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type})
