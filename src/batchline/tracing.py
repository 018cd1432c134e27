"""Tracing with OpenTelemetry, which its standard variables turn on.

Without them nothing of OpenTelemetry is imported here. The provider belongs to this process and is
not OpenTelemetry's global one, so that no other library begins to trace.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchline.constants import TRACES_TIMEOUT

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanKind

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTERS = "opentelemetry_traces_exporter"
"""The entry points under which packages offer exporters."""


class NotInstalled(Exception):
    """OpenTelemetry, or one of its exporters, is not installed."""


class Tracing:
    """Makes the spans of one process. Use `from_environment` to get one."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self.tracer = provider.get_tracer("batchline")

    @contextmanager
    def span(self, name: str, kind: "SpanKind", **more: Any) -> Iterator["Span"]:
        """Make a span of the block, within the one around it. An error ends it as failed."""
        from opentelemetry.trace import Status, StatusCode

        # Messages of errors may quote a row, so a span has only the type.
        with self.tracer.start_as_current_span(
            name, kind=kind, record_exception=False, set_status_on_exception=False, **more
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def close(self) -> None:
        """Send what was not sent yet. A collector that is unavailable does not hold up the end."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(TRACES_TIMEOUT)


def traceparent_of(span: "Span") -> str | None:
    """Return the span as the header `traceparent` has it, or None if it is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def from_environment(role: str, version: str, environment: Mapping[str, str]) -> Tracing | None:
    """Return the tracing that the variables ask for, or None.

    Args:
        role: `api` or `job`, for the name of the service if the variables give it none.
        version: of Batchline.

    Raises:
        NotInstalled: a package is missing.
    """
    names = _exporters(environment)
    if not names:
        return None
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise NotInstalled("OpenTelemetry is not installed") from error
    provider = TracerProvider(
        resource=_resource(role, version, environment), shutdown_on_exit=False
    )
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return Tracing(provider)


def _exporters(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the exporters, which are none without one of the variables."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    default = "otlp" if any(environment.get(name) for name in ENDPOINTS) else "none"
    asked = environment.get("OTEL_TRACES_EXPORTER") or default
    names = {name.strip() for name in asked.split(",")} - {"none", ""}
    return sorted(_otlp(environment) if name == "otlp" else name for name in names)


def _otlp(environment: Mapping[str, str]) -> str:
    protocols = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = next((environment[name] for name in protocols if environment.get(name)), "")
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"


def _exporter(name: str) -> "SpanExporter":
    from importlib.metadata import entry_points

    found = list(entry_points(group=EXPORTERS, name=name))
    if not found:
        raise NotInstalled(f"the exporter {name} of OpenTelemetry is not installed")
    exporter: SpanExporter = found[0].load()()
    return exporter


def _resource(role: str, version: str, environment: Mapping[str, str]) -> "Resource":
    from opentelemetry.sdk.resources import Resource

    attributes = {"service.version": version}
    is_named = "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not environment.get("OTEL_SERVICE_NAME") and not is_named:
        attributes["service.name"] = f"batchline-{role}"
    return Resource.create(attributes)
