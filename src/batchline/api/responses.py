"""JSON responses, and the description of errors for OpenAPI."""

from typing import Any

import orjson
from fastapi import Response

from batchline.api.schemas import (
    Problem,
)


def known_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an endpoint for OpenAPI."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    problem = {"description": "Problem", "model": Problem, "content": content}
    return dict.fromkeys(statuses, problem)


def json_response(
    body: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a JSON response with times in UTC."""
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(content, status, headers, media_type="application/json")
