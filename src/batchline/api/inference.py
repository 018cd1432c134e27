"""The Open Inference Protocol's metadata endpoints."""

from typing import Any

from fastapi import APIRouter, Request, Response

from batchline import __version__
from batchline.api.responses import json_response, known_problems
from batchline.api.schemas import V2Live, V2Model, V2Ready, V2Server
from batchline.api.state import ApiState
from batchline.ml.inputs import Input
from batchline.ml.signature import Output, Signature
from batchline.registry.version import read_model

router = APIRouter()


DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bool": "BOOL",
    "str": "BYTES",
}
"""The protocol's names of numpy's types. Integer types have numpy's names in capitals."""


@router.get("/v2", response_model=V2Server, tags=["v2"])
async def v2_server() -> Response:
    """Open Inference Protocol: describe the server. It has no inference endpoint."""
    return json_response({"name": "batchline", "version": __version__, "extensions": []})


@router.get("/v2/health/live", response_model=V2Live, tags=["v2"])
async def v2_live() -> Response:
    """Open Inference Protocol: return 200 as long as the process runs."""
    return json_response({"live": True})


@router.get("/v2/health/ready", response_model=V2Ready, responses=known_problems(503), tags=["v2"])
async def v2_ready(request: Request) -> Response:
    """Open Inference Protocol: return 200 if the database responds and its schema fits."""
    state: ApiState = request.app.state.api
    await state.check_ready()
    return json_response({"ready": True})


@router.get(
    "/v2/models/{name}", response_model=V2Model, responses=known_problems(404, 503), tags=["v2"]
)
def v2_model(request: Request, name: str) -> Response:
    """Open Inference Protocol: describe the inputs and outputs of a model."""
    state: ApiState = request.app.state.api
    versions = read_model(state.database, name)
    signature = next(each for each in versions if each.active).signature
    return json_response(
        {
            "name": name,
            "versions": [str(each.number) for each in versions],
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
    """Open Inference Protocol: return 200 if you can register rows for the model."""
    state: ApiState = request.app.state.api
    read_model(state.database, name)
    return json_response({"ready": True})


def _tensor(of: Input | Output) -> dict[str, Any]:
    has_rows = not of.per_item if isinstance(of, Input) else of.per_row
    shape = [size if isinstance(size, int) else -1 for size in of.shape]
    return {
        "name": of.name,
        "datatype": DATATYPES.get(of.dtype, of.dtype.upper()),
        "shape": [-1, *shape] if has_rows else shape,
    }


def _output(output: Output, signature: Signature) -> dict[str, Any]:
    if output.dtype == "map":  # the probabilities of a ZipMap, label by label
        return {"name": output.name, "datatype": "FP32", "shape": [-1, len(signature.labels or ())]}
    return _tensor(output)
