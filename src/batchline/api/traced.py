"""A span for each request, which continues the trace of the client.

A sampled span is stored with the items of its request, so that the batch job can continue the
trace.
"""

from collections.abc import Sequence

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchline.api.fast_path import route_of
from batchline.request_ids import SPAN_OF_SCOPE
from batchline.tracing import Tracing

UNTRACED = ("/health/", "/metrics", "/v2/health/")
"""The beginnings of paths that machines ask for every few seconds."""


class Traced:
    """An ASGI application that traces the requests to another one."""

    def __init__(self, inner: ASGIApp, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(UNTRACED):
            await self._inner(scope, receive, send)
            return
        attributes = {
            "http.request.method": scope["method"],
            "url.scheme": scope["scheme"],
            "url.path": scope["path"],
        }
        parent = propagate.extract(_carrier(scope["headers"]))
        with self._tracing.span(
            scope["method"], SpanKind.SERVER, context=parent, attributes=attributes
        ) as span:
            if span.get_span_context().trace_flags.sampled:
                scope[SPAN_OF_SCOPE] = _traceparent(span)
            try:
                await self._inner(scope, receive, _watching(span, send))
            finally:
                if route := _route(scope):
                    span.set_attribute("http.route", route)
                    span.update_name(f"{scope['method']} {route}")


def _watching(span: Span, send: Send) -> Send:
    async def watch(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return watch


def _carrier(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in fields}


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _route(scope: Scope) -> str | None:
    """Return the path with the names of its parameters, so that not each id has its own span."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else route_of(scope)
