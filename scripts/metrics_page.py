"""The reference page of the metrics, for `scripts.reference_pages`."""

from collections.abc import Sequence

from batchline import metrics
from batchline.constants import COUNTED_ITEMS, INSIGHTS_LIFETIME
from batchline.metrics.kinds import BOUNDS, Counter, Gauge, Histogram

Metric = Counter | Gauge | Histogram

MEANINGS = {
    "model": f"the name of a model that has an active version. `{metrics.UNKNOWN_MODEL}`: items "
    "without such a model, whatever name an SQL client wrote",
    "outcome": "`succeeded` or `failed`",
    "code": "a code from [Errors](errors.md)",
    "version": "the version of Batchline",
}


def text(note: str) -> str:
    """Return the page."""
    both = (metrics.BUILD_INFO, metrics.DATABASE_ERRORS)
    return (
        "\n\n".join(
            [
                "# Metrics",
                note,
                "Prometheus reads `GET /metrics` of each API process and, if `METRICS_PORT` is "
                "set, `GET /metrics` on that port of each batch job. [See how it is doing]"
                "(../howto/monitor.md#scrape-metrics) shows how to set it up. Names and labels "
                "are stable.",
                "## The state of the service",
                "The API and the batch job both have these. They come from the database, so each "
                "process gives the same values: use `max` over processes, not `sum`. A process "
                f"reads them at most once in {INSIGHTS_LIFETIME:g} seconds. If the database does "
                "not answer within a second, they are left out.",
                table(metrics.OF_DATABASE),
                f"Up to {COUNTED_ITEMS:,} pending items are counted. If there are more, the sum "
                f"over all models is {COUNTED_ITEMS + 1:,}.",
                "## Of each process",
                table(both),
                "## Of the API",
                table(metrics.OF_API, without=both),
                "## Of the batch job",
                table(metrics.OF_JOB, without=both),
                "## Labels",
                "\n".join(
                    ["| label | |", "| --- | --- |"]
                    + [f"| `{name}` | {meaning} |" for name, meaning in MEANINGS.items()]
                ),
                f"The buckets of histograms end at {', '.join(f'{each:g}' for each in BOUNDS)} "
                "seconds.",
            ]
        )
        + "\n"
    )


def table(of: Sequence[Metric], without: Sequence[Metric] = ()) -> str:
    """Return a table of metrics."""
    rows = [
        f"| `{shown(each)}` | {kind(each)} | {each.help} |" for each in of if each not in without
    ]
    return "\n".join(["| metric | type | |", "| --- | --- | --- |", *rows])


def shown(metric: Metric) -> str:
    """Return the name of a metric with its labels."""
    return metric.name + ("{" + ", ".join(metric.labels) + "}" if metric.labels else "")


def kind(metric: Metric) -> str:
    """Return the type of a metric, as Prometheus names it."""
    return type(metric).__name__.lower()
