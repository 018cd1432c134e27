"""The command that shows how the service is doing."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from batchline.cli.options import DatabaseUrl
from batchline.cli.output import count, predicted, printable
from batchline.cli.wiring import configure, opened_for_a_moment
from batchline.constants import CLAIM_RENEWAL, COUNTED_ITEMS

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.cruds.job_processes import JobProcess
    from batchline.db.insights import Assessment, Insights
    from batchline.errors import BatchlineError

STATUS_TIMEOUT = 15.0
WATCH_SECONDS = 2.0
SILENT_SHOWN = 5
MODELS_SHOWN = 20
EXIT_CODES = {"ok": 0, "late": 1, "failing": 1, "unknown": 2}
COLOURS = {"ok": "green", "late": "yellow", "failing": "red", "unknown": "red"}

app = typer.Typer()


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every 2 seconds, until Ctrl-C.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what is pending, what failed, which jobs run, and whether predictions are late.

    Exit code 0: all is well. 1: predictions are late or failing. 2: the database does not
    respond, or a setting is wrong. So it can serve as a check. LATE_AFTER sets how many seconds a
    request may wait.
    """
    if watch and as_json:
        raise typer.BadParameter("--watch shows a screen; leave out --json")
    from batchline.errors import ConfigurationError

    try:
        settings = configure({"database_url": database_url})
    except ConfigurationError as error:  # a monitor must not take it for late predictions
        look = _unknown(error)
    else:
        if watch:
            _watch(settings)
            return
        look = _look_in_time(settings)
    show = _print_json if as_json else _print_screen
    try:
        show(*look)
    except Exception as error:  # whatever it is, 1 would say that predictions are late
        typer.echo(f"error: the state cannot be shown: {error}", err=True)
        raise typer.Exit(EXIT_CODES["unknown"]) from None
    raise typer.Exit(EXIT_CODES[look[1].state])


Look = tuple["Insights | None", "Assessment"]


def _look(settings: "Settings") -> Look:
    """Return the state, and what to make of it."""
    from batchline.db.insights import read
    from batchline.errors import BatchlineError

    try:
        with opened_for_a_moment(settings) as database:
            found = read(database)
    except BatchlineError as error:
        return _unknown(error)
    return found, found.assess(settings.late_after_seconds)


def _unknown(error: "BatchlineError") -> Look:
    from batchline.db.insights import Assessment, State

    return None, Assessment(State.UNKNOWN, " ".join(error.detail.split()))


def _look_in_time(settings: "Settings") -> Look:
    """Do as `_look`, for at most `STATUS_TIMEOUT` seconds, whatever the database does."""
    from batchline.db.insights import Assessment, State

    looks: list[Look] = []
    looking = threading.Thread(target=lambda: looks.append(_look(settings)), daemon=True)
    looking.start()
    looking.join(STATUS_TIMEOUT)
    silent = f"the database did not answer within {STATUS_TIMEOUT:g} s"
    return looks[0] if looks else (None, Assessment(State.UNKNOWN, silent))


def _watch(settings: "Settings") -> None:
    import time
    from contextlib import suppress

    with suppress(KeyboardInterrupt):
        while True:
            look = _look_in_time(settings)
            click.clear()
            _print_screen(*look)
            time.sleep(WATCH_SECONDS)


def _print_json(found: "Insights | None", assessment: "Assessment") -> None:
    about: dict[str, Any] = {"state": assessment.state, "reason": assessment.reason or None}
    if found is not None:
        about |= _in_json(found)
    typer.echo(json.dumps(about, ensure_ascii=False))


def _in_json(found: "Insights") -> dict[str, Any]:
    run = found.last_run
    return {
        "pending": {each.model: each.items for each in found.pending},
        "pending_is_complete": found.is_complete,
        "oldest_pending_age_seconds": found.oldest_pending_age,
        "failed": dict(found.failed),
        "jobs": list(map(_job_in_json, found.jobs)),
        "silent_jobs": list(map(_job_in_json, found.silent_jobs)),
        "last_run": run
        and {
            "started_at": _iso(run.started_at),
            "ended_at": _iso(run.ended_at),
            "items_succeeded": run.succeeded,
            "items_failed": run.failed,
            "rows_per_second": run.rows_per_second,
        },
        "next_run_at": _iso(found.next_run_at),
        "backfills": [
            {"id": each.id, "model": each.model, "version": each.version, "share": each.share}
            for each in found.backfills
        ],
        "models": dict(found.versions),
        "models_not_loaded": sorted(found.not_loaded),
    }


def _job_in_json(job: "JobProcess") -> dict[str, Any]:
    return {
        "host": job.host,
        "pid": job.pid,
        "version": job.version,
        "started_at": _iso(job.started_at),
        "last_seen_at": _iso(job.seen_at),
        "activity": job.heartbeat.activity,
        "rows_per_second": job.heartbeat.rows_per_second,
        "error": job.heartbeat.error,
    }


def _print_screen(found: "Insights | None", assessment: "Assessment") -> None:
    reason = f": {assessment.reason}" if assessment.reason else ""
    typer.secho(printable(f"{assessment.state}{reason}"), fg=COLOURS[assessment.state], bold=True)
    if found is not None:
        for name, line in _lines(found):
            typer.echo(printable(f"{name:<10} {line}"))
    hint = _hint(found, assessment)
    if hint:
        typer.echo(f"hint: {hint}", err=True)


def _hint(found: "Insights | None", assessment: "Assessment") -> str:
    from batchline.db.insights import State

    if found is None:
        return "run `batchline check`"
    if found.pending and not found.jobs:
        hint = "no job is alive: start `batchline up` or `batchline job`"
        for silent in found.silent_jobs[:1]:
            hint += f". If process {silent.pid} on {silent.host} hangs, run `kill -9 {silent.pid}`"
        return hint
    return "look for the cause in the job's log" if assessment.state is State.FAILING else ""


def _lines(found: "Insights") -> Iterator[tuple[str, str]]:
    """Return the lines of the screen, each with its title, which is empty if it goes on."""
    oldest = found.oldest_pending_age
    at_least = "" if found.is_complete else "at least "
    items = f"{found.pending_items:,} item{'' if found.pending_items == 1 else 's'}"
    waited = "" if oldest is None else f", the oldest waits for {_span(oldest)}"
    yield "pending", f"{at_least}{items}{waited}"
    for pending in found.pending[:MODELS_SHOWN]:
        yield "", f"{pending.model}: {_number(pending.items)}"
    if more := found.pending[MODELS_SHOWN:]:
        yield "", count(len(more), "other model")
    codes = ", ".join(f"{code} {number:,}" for code, number in found.failed.items())
    yield "failed", f"{sum(found.failed.values()):,} in 24 hours" + (f": {codes}" if codes else "")
    silent = f", {len(found.silent_jobs)} silent" if found.silent_jobs else ""
    yield "jobs", f"{len(found.jobs)} alive{silent}"
    for job in found.jobs:
        yield "", _job_line(found, job)
    for job in found.silent_jobs[:SILENT_SHOWN]:
        yield "", f"silent: {_job_line(found, job)}"
    run = found.last_run
    if run is not None:
        began = found.age(run.started_at)
        ago = "" if began is None else f"began {_span(began)} ago, "
        unended = "not ended, " if run.ended_at is None else ""
        yield "last run", f"{ago}{unended}{predicted(run.succeeded, run.failed)}"
    if found.next_run_at is not None:
        seconds = (found.next_run_at - found.at).total_seconds()
        yield "next run", _due_in(seconds)
    for backfill in found.backfills:
        of = f"{backfill.model} version {backfill.version}"
        yield "backfill", f"{of}: {backfill.share:.0%} of its items claimed"
    yield "models", _versions(found) or "none"


def _versions(found: "Insights") -> str:
    """Return the active versions, those that could not be loaded first."""
    names = sorted(found.versions, key=lambda name: name not in found.not_loaded)
    shown = [
        f"{name} version {found.versions[name]}"
        + (" (could not be loaded)" if name in found.not_loaded else "")
        for name in names[:MODELS_SHOWN]
    ]
    more = len(names) - len(shown)
    return ", ".join([*shown, f"{more:,} more"] if more else shown)


def _job_line(found: "Insights", job: "JobProcess") -> str:
    rate = job.heartbeat.rows_per_second
    speed = "" if rate is None else f", {rate:,.0f} rows/s"
    error = f", last run failed: {job.heartbeat.error}" if job.heartbeat.error else ""
    seen = f", seen {_span(found.age(job.seen_at) or 0)} ago"
    return f"{job.host}, process {job.pid}: {job.heartbeat.activity}{speed}{error}{seen}"


def _number(items: int) -> str:
    """Return how many items of a model are pending. Counting ends one item above the limit."""
    return f"at least {COUNTED_ITEMS:,}" if items > COUNTED_ITEMS else f"{items:,}"


def _due_in(seconds: float) -> str:
    """Return when the next run begins. Jobs that find nothing report this now and then."""
    if seconds > 0:
        return f"in {_span(seconds)}"
    return "now" if -seconds < CLAIM_RENEWAL else f"overdue by {_span(-seconds)}"


def _span(seconds: float) -> str:
    """Return a duration as people say it, in one unit."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
