"""The lines that several commands print."""

from datetime import datetime

from batchline.errors import BatchlineError


def count(number: int, noun: str) -> str:
    """Return the number with its noun: `1 item`, `2 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def error_text(error: BatchlineError) -> str:
    """Return an error as a sentence, and its hint on the next line."""
    return f"error: {error.detail}\nhint: {error.hint}" if error.hint else f"error: {error.detail}"


def predicted(succeeded: int, failed: int) -> str:
    """Return the summary of a job or a backfill: `1 item predicted, 0 failed`."""
    return f"{count(succeeded, 'item')} predicted, {failed} failed"


def time_text(time: datetime | None) -> str:
    """Return a time of the database, or an empty string: `2026-11-27 12:30:00 UTC`."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def minute_text(time: datetime | None, missing: str) -> str:
    """Return a time of the database for a narrow table: `2026-11-27 12:30`, which is UTC."""
    return missing if time is None else f"{time:%Y-%m-%d %H:%M}"


def printable(text: str) -> str:
    """Return a text from the database for a terminal, which control characters could change."""
    return "".join(each if each.isprintable() else "?" for each in text)
