"""The number of rows of the next call of a model. Pure: the caller measures the seconds."""

from batchline.constants import CALL_FIRST_ROWS, CALL_GROWTH, CALL_SECONDS


class CallPace:
    """Calls start small and grow while they are fast, so that a slow model keeps its time limit."""

    def __init__(self) -> None:
        self._rows = CALL_FIRST_ROWS

    def rows(self, most: int) -> int:
        """Return the number of rows for the next call, up to this one."""
        return min(most, self._rows)

    def record(self, rows: int, seconds: float) -> None:
        """Adjust the size to a call that took so many seconds for these rows."""
        if rows < self._rows and seconds <= CALL_SECONDS:
            return  # it had no more rows, which says nothing about larger calls
        fitting = int(rows * CALL_SECONDS / max(seconds, 1e-6))
        self._rows = max(1, min(rows * CALL_GROWTH, fitting))
