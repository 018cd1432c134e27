"""Show how far a run over files is, and how it ended."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchline.cli.output import count
from batchline.cli.wiring import configure_logging

if TYPE_CHECKING:
    from batchline.cli.predict_ask import RunSettings
    from batchline.files.source import Part, Source
    from batchline.scoring.local import OnProgress
    from batchline.scoring.summary import Summary

LOG_SECONDS = 10.0
STDOUT = "-"


@contextmanager
def show_progress(source: "Source", settings: "RunSettings") -> "Iterator[OnProgress]":
    """Show a bar on a terminal, and otherwise a line every ten seconds."""
    if not sys.stderr.isatty():
        yield _LogLines(source, settings)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("predicting"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(),
    )
    share = _Share(source)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        total = None if share.total is None else 1.0
        task = progress.add_task("", total=total, rows="")

        def on_progress(summary: "Summary", part: "Part") -> None:
            progress.update(task, completed=share.of(part) or 0.0, rows=_rows(summary, share.began))

        yield on_progress


class _Share:
    """Which share of the input was read."""

    def __init__(self, source: "Source") -> None:
        self.began = time.monotonic()
        self.total = source.total_bytes
        self._before: dict[str, int] = {}
        start = 0
        for file in source.files:
            self._before[file.location.path] = start
            start += file.location.size or 0

    def of(self, part: "Part") -> float | None:
        """Return the share up to the end of this part, or None if the size is not known."""
        if not self.total:
            return None
        return (self._before[part.path] + part.bytes_read) / self.total


class _LogLines:
    """Logs a line every ten seconds."""

    def __init__(self, source: "Source", settings: "RunSettings") -> None:
        self._settings = settings
        self._log: Any = None
        self._share = _Share(source)
        self._next = self._share.began + LOG_SECONDS

    def __call__(self, summary: "Summary", part: "Part") -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOG_SECONDS
        seconds = now - self._share.began
        share = self._share.of(part)
        left = {} if not share else {"seconds_left": round(seconds / share - seconds)}
        self._logger().info(
            "predicting",
            rows=summary.rows,
            rows_per_second=round(summary.rows / seconds),
            rows_with_errors=summary.failed,
            **left,
        )

    def _logger(self) -> Any:
        """Return the log, which most runs end too early to need."""
        if self._log is None:
            import structlog

            configure_logging(self._settings)
            self._log = structlog.get_logger(__name__)
        return self._log


def _rows(summary: "Summary", began: float) -> str:
    rate = summary.rows / max(time.monotonic() - began, 1e-3)
    errors = f", {summary.failed:,} with errors" if summary.failed else ""
    return f"{summary.rows:,} rows, {rate:,.0f}/s{errors}"


def show_summary(
    summary: "Summary", output: str, replaced: int = 0, *, as_json: bool, noun: str = "row"
) -> None:
    """Print the numbers of rows and the first errors; as JSON on stdout, if no rows go there.

    Args:
        replaced: rows of the input that are not in the output, since another has their id.
        noun: what one of the rows is called.
    """
    if as_json:
        text = json.dumps({"output": output, **summary.to_json()})
        print(text, file=sys.stderr if output == STDOUT else sys.stdout)
        return
    for error in summary.first_errors:
        print(f"{error.code}: {error}", file=sys.stderr)
    if summary.failed > len(summary.first_errors):
        print(f"… and {summary.failed - len(summary.first_errors)} more", file=sys.stderr)
    if hint := _hint(summary):
        print(f"hint: {hint}", file=sys.stderr)
    by_code = ", ".join(f"{number} {code}" for code, number in summary.errors.most_common())
    errors = f", {summary.failed} with errors ({by_code})" if summary.failed else ""
    where = "standard output" if output == STDOUT else output
    print(f"{count(summary.rows - replaced, noun)} in {where}{errors}", file=sys.stderr)
    if replaced:
        print(f"{count(replaced, 'row')} replaced by a later row with the same id", file=sys.stderr)
    if summary.blank_lines:
        print(f"{count(summary.blank_lines, 'blank line')} skipped", file=sys.stderr)


def _hint(summary: "Summary") -> str:
    """Return what to do about decimal commas or a missing value among the errors shown."""
    from batchline.files.csv_cells import NO_COMMA
    from batchline.scoring.scorer import MISSING

    if any(each.detail == NO_COMMA for each in summary.first_errors):
        return "if the comma is the decimal mark, add --decimal ','"
    error = next((each for each in summary.first_errors if each.detail == MISSING), None)
    if error is None:
        return ""
    name = error.column
    if error.code == "not_a_text":
        option = f"--missing-text {name}=TEXT to say what the model gets instead"
    else:
        option = f"--missing {name} if the model knows missing values"
    of_database = "For a model of the database, `models add` has this option"
    return f"fill in {name}, or add {option}. {of_database}"
