"""The lines that several commands print."""


def count(number: int, noun: str) -> str:
    """Return the number with its noun: `1 item`, `2 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def predicted(succeeded: int, failed: int) -> str:
    """Return the summary of a job or a backfill: `1 item predicted, 0 failed`."""
    return f"{count(succeeded, 'item')} predicted, {failed} failed"
