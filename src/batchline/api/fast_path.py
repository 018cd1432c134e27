"""Serve the two most frequent requests without the framework.

FastAPI's routing, dependencies and middleware take longer than storing a row, so these requests go
straight to their endpoints. The router has the same endpoints. It documents them, and it serves
every request that this module does not recognize.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from batchline.api import problems
from batchline.api.filters import ItemQuery
from batchline.api.items import read_item, register

READ_ITEM = "/predict/id/"


NO_QUERY = ItemQuery(version=None)


MAX_DIGITS = 18
"""The router serves ids with more digits, since they may be too large."""


class FastPath:
    """An ASGI application that wraps the framework's."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _endpoint(scope)
        if answer is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            response = await answer(request)
        except Exception as error:
            response = await problems.respond(request, error)
        await response(scope, receive, send)


def route_of(scope: Scope) -> str | None:
    """Return the path with the names of its parameters, if this module serves the request."""
    answer = _endpoint(scope)
    if answer is None:
        return None
    return "/predict" if answer is register else f"{READ_ITEM}{{item_id}}"


def _endpoint(scope: Scope) -> Callable[[Request], Awaitable[Response]] | None:
    if scope["type"] != "http":
        return None
    method, path = scope["method"], scope["path"]
    if scope["query_string"]:
        return None
    if method == "POST" and path == "/predict":
        return register
    if method == "GET" and path.startswith(READ_ITEM):
        item_id = path.removeprefix(READ_ITEM)
        if len(item_id) <= MAX_DIGITS and item_id.isdigit() and item_id.isascii():
            return partial(read_item, item_id=int(item_id), query=NO_QUERY)
    return None
