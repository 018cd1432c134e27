"""Write metrics in the formats of Prometheus."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from typing import TYPE_CHECKING

from batchline import __version__, metrics
from batchline.db.insights import Insights, State
from batchline.metrics.kinds import BOUNDS, Counter, Gauge, Histogram
from batchline.metrics.numbers import Key, Numbers

if TYPE_CHECKING:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """The metrics at one moment. It is what prometheus-client calls a collector.

    Args:
        kinds: the metrics of these processes, without those of the database.
        numbers: what each process has counted. Their sums are written.
        insights: the state of the service, or None if the database does not respond.
        late_after: seconds that a request may wait for its prediction.
    """

    def __init__(
        self,
        kinds: Sequence[Counter | Histogram],
        numbers: Sequence[Numbers],
        insights: Insights | None,
        late_after: float,
    ) -> None:
        self._kinds = kinds
        self._insights = insights
        self._late_after = late_after
        self._totals: dict[Key, float] = defaultdict(float)
        for each in numbers:
            for key, value in each.read().items():
                self._totals[key] += value

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its media type, in the format that a client accepts."""
        from prometheus_client import exposition  # takes 70 ms
        from prometheus_client.openmetrics import exposition as openmetrics

        media_types = [part.partition(";")[0].strip() for part in accept.split(",")]
        if OPEN_METRICS.partition(";")[0] in media_types:
            text: bytes = openmetrics.generate_latest(self)  # type: ignore[no-untyped-call]
            return text, OPEN_METRICS
        return exposition.generate_latest(self), PLAIN

    def collect(self) -> Iterator["Metric"]:
        """Yield the metrics."""
        yield _gauge(metrics.BUILD_INFO, {(__version__,): 1})
        for kind in self._kinds:
            yield self._histogram(kind) if isinstance(kind, Histogram) else self._counter(kind)
        if self._insights is not None:
            yield from _of_database(self._insights, self._late_after)

    def _counter(self, kind: Counter) -> "CounterMetricFamily":
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(kind.name, kind.help, labels=kind.labels)
        found = {key[1:]: count for key, count in self._totals.items() if key[0] == kind.name}
        for values, count in sorted({**dict.fromkeys(self._expected(kind), 0), **found}.items()):
            family.add_metric(values, count)
        return family

    def _expected(self, kind: Counter) -> Iterator[tuple[str, ...]]:
        """Yield labels that are shown with 0 before they are counted.

        Without a 0, Prometheus does not see that the first count is an increase.
        """
        models = [] if self._insights is None else self._insights.versions
        if not kind.labels:
            yield ()
        elif kind == metrics.ITEMS:
            yield from product(models, metrics.OUTCOMES)
        elif kind == metrics.ROWS_PREDICTED:
            yield from product(models)
        else:
            yield from product(kind.known)

    def _histogram(self, kind: Histogram) -> "HistogramMetricFamily":
        from prometheus_client.core import HistogramMetricFamily
        from prometheus_client.utils import floatToGoString

        bounds = [*map(floatToGoString, BOUNDS), "+Inf"]
        counts = accumulate(self._totals[key] for key in kind.buckets)
        family = HistogramMetricFamily(kind.name, kind.help)
        family.add_metric([], list(zip(bounds, counts, strict=True)), self._totals[kind.sum])
        return family


def _gauge(kind: Gauge, values: dict[Key, float]) -> "GaugeMetricFamily":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(kind.name, kind.help, labels=kind.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _of_database(found: Insights, late_after: float) -> Iterator["GaugeMetricFamily"]:
    items: dict[Key, float] = {(name,): 0 for name in found.versions}
    ages: dict[Key, float] = dict(items)
    for each in found.pending:
        # Clients of the database may write any name.
        labels = (each.model if each.model in found.versions else metrics.UNKNOWN_MODEL,)
        items[labels] = items.get(labels, 0) + each.items
        age = found.age(each.oldest)
        if age is not None:
            ages[labels] = max(age, ages.get(labels, 0))
    state = found.assess(late_after).state
    yield _gauge(metrics.ITEMS_PENDING, items)
    yield _gauge(metrics.OLDEST_PENDING_AGE, ages)
    yield _gauge(metrics.LATE, {(): float(state is not State.OK)})
    yield _gauge(metrics.JOBS_ALIVE, {(): len(found.jobs)})
