"""A span for each request, which continues the trace of the client.

A sampled span is stored with the items of its request, so that the batch job can continue the
trace.
"""

from collections.abc import Sequence

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchline.api.fast_path import route_of
from batchline.api.roles import PROBED
from batchline.request_ids import SPAN_OF_SCOPE
from batchline.tracing import Tracing, traceparent_of


class Traced:
    """An ASGI application that traces the requests to another one."""

    def __init__(self, inner: ASGIApp, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing
        self._propagators = propagate.get_global_textmap()
        self._fields = frozenset(name.lower().encode() for name in self._propagators.fields)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PROBED):
            await self._inner(scope, receive, send)
            return
        # OpenTelemetry asks for these at the start, since samplers may look at them.
        attributes = {
            "http.request.method": scope["method"],
            "url.scheme": scope["scheme"],
            "url.path": scope["path"],
        }
        parent = self._parent(scope["headers"])
        span = self._tracing.tracer.start_span(scope["method"], parent, SpanKind.SERVER, attributes)
        if not span.is_recording():
            await self._inner(scope, receive, send)
            return
        scope[SPAN_OF_SCOPE] = traceparent_of(span)
        status, error_type = 0, ""

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._inner(scope, receive, watch)
        except BaseException as error:
            error_type = type(error).__qualname__  # its message may quote a row
            raise
        finally:
            if status >= 500 or error_type:
                span.set_attribute("error.type", error_type or str(status))
                span.set_status(Status(StatusCode.ERROR))
            if status:
                span.set_attribute("http.response.status_code", status)
            if route := _route(scope):
                span.set_attribute("http.route", route)
                span.update_name(f"{scope['method']} {route}")
            span.end()

    def _parent(self, headers: Sequence[tuple[bytes, bytes]]) -> Context:
        """Return the span of the client, if the request names one."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1").strip()
            for name, value in headers
            if name in self._fields
        }
        return self._propagators.extract(carrier, Context()) if carrier else Context()


def _route(scope: Scope) -> str | None:
    """Return the path with the names of its parameters, so that not each id has its own span."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else route_of(scope)
