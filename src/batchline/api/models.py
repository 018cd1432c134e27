"""The endpoints that describe models."""

from math import prod
from typing import Any

from fastapi import APIRouter, Request, Response

from batchline.api.responses import json_response, known_problems
from batchline.api.schemas import Model, Models
from batchline.api.state import ApiState
from batchline.constants import EXAMPLE_MAX_VALUES
from batchline.registry.version import KnownVersions, Version, read_model

router = APIRouter()


@router.get("/models", response_model=Models, responses=known_problems(503), tags=["models"])
def list_models(request: Request) -> Response:
    """List the models, each with its active version."""
    state: ApiState = request.app.state.api
    active = KnownVersions(state.database).active()
    return json_response({"models": [_model(active[name]) for name in sorted(active)]})


@router.get(
    "/models/{name}", response_model=Model, responses=known_problems(404, 503), tags=["models"]
)
def describe_model(request: Request, name: str) -> Response:
    """Describe the inputs and outputs of a model, with an example of its data."""
    state: ApiState = request.app.state.api
    versions = read_model(state.database, name)
    active = next(each for each in versions if each.active)
    return json_response(_model(active) | {"versions": [each.number for each in versions]})


def _model(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.number,
        "sha256": version.sha256,
        "created_at": version.created_at,
        **version.signature.to_json(),
        "batching": None if version.batching is None else version.batching.to_json(),
        "notes": version.notes,
        "example": _example(version),
    }


def _example(version: Version) -> dict[str, Any] | None:
    """Return a request for one row, or None if its data is large."""
    shapes = [each.shape for each in version.signature.inputs]
    values = sum(prod(s if isinstance(s, int) else 3 for s in shape) for shape in shapes)
    if values > EXAMPLE_MAX_VALUES:
        return None
    return {"model": version.name, "data": version.signature.example()}
