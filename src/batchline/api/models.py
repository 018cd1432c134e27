"""The endpoints about models: in our own style, and as the Open Inference Protocol has them."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from batchline import __version__
from batchline.api.routers import answer, known_problems
from batchline.api.schemas import Model, Models, V2Live, V2Model, V2Ready, V2Server
from batchline.api.service import Service
from batchline.db.cruds import versions
from batchline.db.models import Record
from batchline.errors import UnknownModel
from batchline.ml.inputs import Input
from batchline.ml.signature import Output, Signature

router = APIRouter()

DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bool": "BOOL",
    "str": "BYTES",
}
"""V2's names of the types; those of integers are numpy's in capitals."""


@router.get("/models", response_model=Models, responses=known_problems(503), tags=["models"])
def list_models(request: Request) -> Response:
    """The models, each with its active version."""
    service: Service = request.app.state.service
    with service.database.read() as connection:
        records = versions.active_versions(connection)
    return answer({"models": [_model(each) for each in sorted(records, key=lambda r: r.name)]})


@router.get(
    "/models/{name}", response_model=Model, responses=known_problems(404, 503), tags=["models"]
)
def read_model(request: Request, name: str) -> Response:
    """What a model takes and gives, with an example of its data."""
    versions = _versions(request, name)
    active = next(each for each in versions if each.active)
    return answer(_model(active) | {"versions": [each.version for each in versions]})


@router.get("/v2", response_model=V2Server, tags=["v2"])
async def describe_server() -> Response:
    """Open Inference Protocol: the server. It has metadata only: predictions come later."""
    return answer({"name": "batchline", "version": __version__, "extensions": []})


@router.get("/v2/health/live", response_model=V2Live, tags=["v2"])
async def v2_live() -> Response:
    """Open Inference Protocol: the process answers."""
    return answer({"live": True})


@router.get("/v2/health/ready", response_model=V2Ready, responses=known_problems(503), tags=["v2"])
def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: the database answers and its schema is current."""
    service: Service = request.app.state.service
    service.must_be_ready()
    return answer({"ready": True})


@router.get(
    "/v2/models/{name}", response_model=V2Model, responses=known_problems(404, 503), tags=["v2"]
)
def describe_model(request: Request, name: str) -> Response:
    """Open Inference Protocol: the inputs and outputs of a model."""
    versions = _versions(request, name)
    signature = _signature(next(each for each in versions if each.active))
    return answer(
        {
            "name": name,
            "versions": [str(each.version) for each in versions],
            "platform": "onnxruntime_onnx",
            "inputs": [_tensor(each) for each in signature.inputs],
            "outputs": [_output(each, signature) for each in signature.outputs],
        }
    )


@router.get(
    "/v2/models/{name}/ready",
    response_model=V2Ready,
    responses=known_problems(404, 503),
    tags=["v2"],
)
def v2_model_ready(request: Request, name: str) -> Response:
    """Open Inference Protocol: the model takes rows."""
    _versions(request, name)
    return answer({"ready": True})


def _versions(request: Request, name: str) -> Sequence[Record]:
    """All versions of a model, of which one is active.

    Raises:
        UnknownModel: there is none of this name.
    """
    service: Service = request.app.state.service
    with service.database.read() as connection:
        found = versions.all_versions(connection, name)
        known = sorted(versions.active_ids(connection))
    if not any(each.active for each in found):
        raise UnknownModel(
            f"there is no model {name[:80]!r}", hint=f"the models are: {', '.join(known) or 'none'}"
        )
    return found


def _signature(record: Record) -> Signature:
    return Signature.from_json(orjson.loads(record.signature))


def _model(record: Record) -> dict[str, Any]:
    signature = _signature(record)
    batching = json.loads(record.batching) if record.batching else None
    return {
        "name": record.name,
        "version": record.version,
        "sha256": record.sha256,
        "created_at": record.created_at,
        **signature.to_json(),
        "batching": batching,
        "example": {"model": record.name, "data": signature.example()},
    }


def _tensor(of: Input | Output) -> dict[str, Any]:
    has_rows = not of.per_item if isinstance(of, Input) else of.per_row
    shape = [size if isinstance(size, int) else -1 for size in of.shape]
    return {
        "name": of.name,
        "datatype": DATATYPES.get(of.dtype, of.dtype.upper()),
        "shape": [-1, *shape] if has_rows else shape,
    }


def _output(output: Output, signature: Signature) -> dict[str, Any]:
    if output.dtype == "map":  # a ZipMap's probabilities, label by label
        return {"name": output.name, "datatype": "FP32", "shape": [-1, len(signature.labels or ())]}
    return _tensor(output)
