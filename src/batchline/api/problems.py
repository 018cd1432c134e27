"""Turn each error into an RFC 9457 problem document: Batchline's, the framework's, and bugs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from batchline import request_ids
from batchline.api.roles import PROBED
from batchline.api.routers import ROUTERS
from batchline.api.shared_state import SharedState
from batchline.api_keys import KEY, PREFIX
from batchline.errors import BatchlineError, Fault, InvalidData, StatementFailed, Unavailable
from batchline.metrics import REJECTIONS

CODES = {404: "not_found", 405: "method_not_allowed"}


def install(app: FastAPI) -> None:
    """Install a handler for every kind of error."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def respond(request: Request, error: Exception) -> Response:
    """Return the problem document for an error that an endpoint raised."""
    for kind, handler in HANDLERS.items():
        if isinstance(error, kind):
            return await handler(request, error)
    raise error


def of(error: BatchlineError) -> Response:
    """Return the problem document for a request that cannot be read."""
    return _problem(
        None, error.status, error.title, error.detail, error.code, hint=error.public_hint
    )


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, BatchlineError)
    if isinstance(error, StatementFailed):
        return await _unforeseen(request, error)
    detail, headers = error.detail, dict(error.headers)
    if error.status >= 500:
        # Only the log gets the database's message, which may name hosts and users.
        request_id = _request_id(request)
        _state(request).failures.failed(error, _path(request), request_id)
        detail, headers["X-Request-ID"] = error.title, request_id
    if isinstance(error, Unavailable) and request.method == "POST":
        detail = f"{detail}. {error.outcome}"
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return _problem(
        request,
        error.status,
        error.title,
        detail,
        error.code,
        hint=error.public_hint,
        faults=error.faults,
        headers=headers,
    )


async def _frameworks(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "http_error")
    hint = "GET /docs describes all endpoints" if code == "not_found" else ""
    detail = str(error.detail)
    response = _problem(request, error.status_code, detail, detail, code, hint=hint)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = _methods(request) or response.headers["Allow"]
    return response


def _methods(request: Request) -> str:
    """Return all methods of a path. The framework names only those of its first route."""
    all_routes = (route for router in ROUTERS for route in router.routes)
    routes = [route for route in all_routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in found for method in route.methods or ()}))


async def _parameters(request: Request, error: Exception) -> Response:
    """Report an invalid parameter of the path or the query, with a pointer like `#/query/limit`."""
    assert isinstance(error, RequestValidationError)
    faults = [
        Fault("#/" + "/".join(map(str, fault["loc"])), "invalid_parameter", _reason(fault))
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
    title, code = "A parameter is invalid", "invalid_parameter"
    return _problem(request, 422, title, detail, code, faults=faults)


def _reason(fault: Mapping[str, Any]) -> str:
    """Return the sentence for an invalid parameter. The framework's are about its own types."""
    kind = fault["type"]
    if kind == "extra_forbidden":
        return "unknown parameter"
    if kind in ("literal_error", "enum"):
        return f"expected {fault['ctx']['expected']}"
    return "expected an integer" if kind.startswith("int_parsing") else str(fault["msg"])


async def _hung_up(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client has disconnected


async def _unforeseen(request: Request, error: Exception) -> Response:
    request_id = _request_id(request)
    _state(request).failures.unforeseen(error, _path(request), request_id)
    bug = BatchlineError("The API logged the error and its traceback")
    headers = {"X-Request-ID": request_id}
    return _problem(
        request,
        bug.status,
        bug.title,
        bug.detail,
        bug.code,
        hint=bug.public_hint,
        headers=headers,
    )


def _state(request: Request) -> SharedState:
    state: SharedState = request.app.state.api
    return state


def _request_id(request: Request) -> str:
    return request_ids.sent_in(request.scope["headers"]) or request_ids.new()


def _path(request: Request) -> str:
    """Return the path for the log. A client may have put its API key there."""
    return KEY.sub(f"{PREFIX}…", request.url.path)


def _problem(
    request: Request | None,
    status: int,
    title: str,
    detail: str,
    code: str,
    *,
    hint: str = "",
    faults: Sequence[Fault] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    if status < 500 or request is None or not request.url.path.startswith(PROBED):
        REJECTIONS.add(code)  # else it is a probe, which has asked whether the service works
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if hint:
        body["hint"] = hint
    if status == InvalidData.status:
        body["errors"] = [fault.to_json() for fault in faults]
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    BatchlineError: _ours,
    HTTPException: _frameworks,
    RequestValidationError: _parameters,
    ClientDisconnect: _hung_up,
    Exception: _unforeseen,
}
"""`respond` uses the first kind that matches."""
