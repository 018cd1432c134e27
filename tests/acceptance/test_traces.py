"""One trace leads from a request to its stored prediction."""

import gzip
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from batchline import tracing
from batchline.constants import TRACED_ITEMS
from batchline.db.database import Database
from batchline.task.run import Run
from batchline.tracing import Tracing
from tests.api_here import ApiHere
from tests.conftest import SQLITE_AND_A_SERVER
from tests.jobs import make_job
from tests.service import IRIS, Service, environment, migrate, wait_for

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
BODY = {"data": [IRIS]}


class Spans:
    """What a process traces, in memory."""

    def __init__(self, share: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)))
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    @property
    def names(self) -> set[str]:
        return {span.name for span in self._exporter.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(span.context.trace_id)


def predict(database_url: str, spans: Spans) -> None:
    with closing(Database(database_url)) as database:
        Run(replace(make_job(database), tracing=spans.tracing), 1, lambda outcome: None).execute()


def stored(database_url: str) -> list[str | None]:
    with closing(Database(database_url)) as database, database.read() as connection:
        query = "SELECT traceparent FROM items ORDER BY id"
        return list(connection.exec_driver_sql(query).scalars())


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_the_trace_of_the_client_leads_to_the_stored_prediction(database_url: str) -> None:
    migrate(database_url)
    spans = Spans()
    with ApiHere(database_url, tracing=spans.tracing) as api:
        api.http.post("/predict", json=BODY, headers={"traceparent": TRACEPARENT})
        predict(database_url, spans)
        assert api.read(1)["status"] == "succeeded"
    request, item, batch = map(spans.only, ("POST /predict", "predict item", "predict batch"))
    assert request.kind is SpanKind.SERVER
    assert trace_of(request) == trace_of(item) == TRACE != trace_of(batch)
    assert request.parent is not None
    assert format_span_id(request.parent.span_id) == CALLER
    assert item.parent is not None
    assert item.parent.span_id == request.context.span_id
    assert [link.context.span_id for link in batch.links] == [request.context.span_id]
    assert [link.context.span_id for link in item.links] == [batch.context.span_id]
    for name in ("read items", "call models", "store results"):
        step = spans.only(name)
        assert step.parent is not None
        assert step.parent.span_id == batch.context.span_id
        assert item.start_time <= step.start_time <= step.end_time <= item.end_time
    assert dict(request.attributes or {})["http.response.status_code"] == 202
    assert "GET /predict/id/{item_id}" in spans.names


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_each_item_of_an_upload_continues_its_trace_up_to_a_limit(database_url: str) -> None:
    migrate(database_url)
    spans = Spans()
    with ApiHere(database_url, tracing=spans.tracing) as api:
        lines = [json.dumps(BODY)] * (TRACED_ITEMS + 10)
        api.http.post("/items", content="\n".join(lines))
        predict(database_url, spans)
    upload, batches = spans.only("POST /items"), spans.named("predict batch")
    assert len(stored(database_url)) == TRACED_ITEMS + 10
    assert sum(len(batch.links) for batch in batches) == len(spans.named("predict item"))
    assert max(len(batch.links) for batch in batches) <= TRACED_ITEMS
    assert {trace_of(item) for item in spans.named("predict item")} == {trace_of(upload)}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_failed_item_ends_its_trace_with_the_code(database_url: str) -> None:
    migrate(database_url)
    spans = Spans()
    insert = "INSERT INTO items (data, traceparent) VALUES ('\"planted\"', '{}')"
    with closing(Database(database_url)) as database:
        for traceparent in (TRACEPARENT, "planted", "00-0-0-01"):
            with database.write() as connection:
                connection.exec_driver_sql(insert.format(traceparent))
    predict(database_url, spans)
    item = spans.only("predict item")
    assert trace_of(item) == TRACE
    assert not item.status.is_ok
    assert dict(item.attributes or {})["error.type"] == "invalid_data"
    assert "planted" not in str(
        [span.to_json() for name in spans.names for span in spans.named(name)]
    )


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_is_not_sampled_is_not_stored(database_url: str) -> None:
    migrate(database_url)
    spans = Spans(share=0.0)
    with ApiHere(database_url, tracing=spans.tracing) as api:
        api.http.post("/predict", json=BODY)
        api.http.post("/predict", json=BODY, headers={"traceparent": f"{TRACEPARENT[:-2]}00"})
        api.http.post("/predict", json=BODY, headers={"traceparent": TRACEPARENT})
        api.http.get("/health/ready")
    assert [text and text[3:35] for text in stored(database_url)] == [None, None, TRACE]
    assert spans.names == {"POST /predict"}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_request_that_fails_because_of_the_service_is_a_failed_span(database_url: str) -> None:
    migrate(database_url)
    spans = Spans()
    with closing(Database(database_url)) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE models SET active = NULL")
    with ApiHere(database_url, tracing=spans.tracing) as api:
        assert api.http.post("/predict", json=BODY).status_code == 503
        assert api.http.post("/predict", json={}).status_code == 422
        assert api.http.get("/nothing/1").status_code == 404
    unavailable, invalid = spans.named("POST /predict")
    assert not unavailable.status.is_ok
    assert invalid.status.is_unset
    assert spans.only("GET").status.is_unset


@pytest.mark.parametrize(
    ("variables", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "shop"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here:4318"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here:4318"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "console"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["console", "otlp_proto_http"]),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ["otlp_proto_grpc"],
        ),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://here"}, []),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_standard_variables_turn_it_on(variables: dict[str, str], exporters: list[str]) -> None:
    assert tracing._exporters(variables) == exporters


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tracing.NotInstalled, match="exporter nowhere"):
        tracing.from_environment("api", "1", {"OTEL_TRACES_EXPORTER": "nowhere"})
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(tracing.NotInstalled, match="OpenTelemetry is not installed"):
        tracing.from_environment("api", "1", {"OTEL_TRACES_EXPORTER": "console"})


class Collector(HTTPServer):
    """Receives spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Collecting)
        self.received: list[tuple[str, str, str]] = []
        """The name of the service, the name of the span and the trace id of each span."""


class Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {
                each.key: each.value.string_value for each in of_resource.resource.attributes
            }
            for of_scope in of_resource.scope_spans:
                self.server.received += [
                    (resource["service.name"], span.name, span.trace_id.hex())
                    for span in of_scope.spans
                ]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.05,))
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_processes_send_their_spans_to_a_collector(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    with collecting() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "BATCH_WAIT_TIME": "0.2",
        }
        with Service(url, **settings) as service:
            service.http.post("/predict", json=BODY, headers={"traceparent": TRACEPARENT})
            service.wait_for_result(1)
            expected = {
                ("batchline-api", "POST /predict", TRACE),
                ("batchline-job", "predict item", TRACE),
            }
            wait_for(lambda: expected <= set(collector.received), "the trace")


def test_a_collector_that_is_away_costs_neither_requests_nor_lines(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        "BATCH_WAIT_TIME": "0.2",
        "LOG_FORMAT": "json",
    }
    with Service(url, **settings) as service:
        for _ in range(20):
            service.wait_for_result(service.register(IRIS))
        wait_for(lambda: "Transient error" in service.output, "an attempt to send spans")
        service.send(signal.SIGTERM)
        assert service.wait() == 0  # the exporter alone would take ten minutes
        events = [json.loads(line) for line in service.output.splitlines()]
    levels = [(each["role"], each["level"]) for each in events if each["level"] != "info"]
    assert levels
    assert len(levels) == len(set(levels))


def test_a_service_without_the_package_says_so_and_works(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    with Service(url, "api", OTEL_TRACES_EXPORTER="nowhere") as api:
        assert api.register(IRIS) == 1
        assert "no traces" in api.output
        assert "pip install opentelemetry-sdk" in api.output


def test_without_the_variables_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, batchline.cli.run, batchline.task.job as job; {}"
        "from batchline.cli.wiring import begin_tracing; assert begin_tracing('job') is None; "
        "sys.exit(any(name.startswith({!r}) for name in sys.modules))"
    )
    for imports, absent in (
        ("", "opentelemetry"),
        ("import batchline.api.server;", "opentelemetry.sdk"),
    ):
        words = [sys.executable, "-c", code.format(imports, absent)]
        assert subprocess.run(words, env=environment()).returncode == 0
