"""The spans of a batch, and of the traced items in it.

A batch has a trace of its own, with links to those of its items. And the trace of each item gets a
span from the claim until the prediction is stored.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from batchline.constants import TRACED_ITEMS
from batchline.db.claims import Claim
from batchline.db.cruds import items
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.scope import Backfill
from batchline.errors import BatchlineError
from batchline.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext


class Untraced:
    """A batch without tracing, which costs nothing."""

    def step(self, name: str, **attributes: Any) -> AbstractContextManager[object]:
        """Make a span of the block within that of the batch."""
        return nullcontext()

    def stored(self, database: Database, results: Sequence[VersionResults], rows: int) -> None:
        """Link the batch to the traces of its items, and continue these."""


UNTRACED = Untraced()


class TracedBatch(Untraced):
    """One batch of one claim."""

    def __init__(self, tracing: Tracing, claim: Claim, span: "Span") -> None:
        self._tracing = tracing
        self._claim = claim
        self._span = span
        self._began = time.time_ns()

    def step(self, name: str, **attributes: Any) -> AbstractContextManager[object]:
        from opentelemetry.trace import SpanKind

        return self._tracing.span(name, SpanKind.INTERNAL, attributes=attributes)

    def stored(self, database: Database, results: Sequence[VersionResults], rows: int) -> None:
        succeeded = {item_id for each in results for item_id in each.predictions}
        failed = {item_id for each in results for item_id in each.failures}
        self._span.set_attributes(
            {
                "messaging.batch.message_count": len(succeeded) + len(failed),
                "batchline.items_succeeded": len(succeeded),
                "batchline.items_failed": len(failed),
                "batchline.rows": rows,
            }
        )
        if isinstance(self._claim.scope, Backfill):  # their traces may be months old
            return
        codes = {
            item_id: each.code for found in results for item_id, each in found.failures.items()
        }
        for item_id, parent in _parents(database, self._claim, succeeded | failed):
            self._span.add_link(parent)
            self._continue(item_id, parent, codes.get(item_id))

    def _continue(self, item_id: int, parent: "SpanContext", code: str | None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode

        span = self._tracing.tracer.start_span(
            "predict item",
            context=trace.set_span_in_context(NonRecordingSpan(parent)),
            kind=SpanKind.CONSUMER,
            attributes={"batchline.item_id": item_id},
            links=[Link(self._span.get_span_context())],
            start_time=self._began,
        )
        if code is not None:
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR))
        span.end()


@contextmanager
def traced(tracing: Tracing | None, claim: Claim) -> Iterator[Untraced]:
    """Trace the batch in the block, if tracing is on."""
    if tracing is None:
        yield UNTRACED
        return
    from opentelemetry.trace import SpanKind

    attributes = {"batchline.first_id": claim.first_id, "batchline.last_id": claim.last_id}
    with tracing.span("predict batch", SpanKind.CONSUMER, attributes=attributes) as span:
        yield TracedBatch(tracing, claim, span)


def _parents(
    database: Database, claim: Claim, item_ids: set[int]
) -> Iterator[tuple[int, "SpanContext"]]:
    """Yield the spans that registered these items, for at most `TRACED_ITEMS` of them."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    try:
        with database.read() as connection:
            found = items.traceparents(connection, claim.first_id, claim.last_id)
    except BatchlineError:  # the results are stored, and that is what counts
        return
    mine = [(item_id, text) for item_id, text in found if item_id in item_ids]
    for item_id, text in mine[:TRACED_ITEMS]:
        context = TraceContextTextMapPropagator().extract({"traceparent": text})
        parent = trace.get_current_span(context).get_span_context()
        if parent.is_valid:
            yield item_id, parent
