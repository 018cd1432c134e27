"""How many rows of a run may have errors."""

from dataclasses import dataclass

MIN_ROWS_FOR_SHARE = 1_000
"""A share of errors is compared with its limit only from this number of rows on."""


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """The number of rows that may have errors, or their share of all rows. None: any number."""

    count: int | None = None
    share: float | None = None

    def is_exceeded(self, errors: int, rows: int, *, at_end: bool) -> bool:
        if self.count is not None:
            return errors > self.count
        if self.share is None or (rows < MIN_ROWS_FOR_SHARE and not at_end):
            return False
        return errors * 100 > round(self.share * 100, 9) * rows

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{self.share * 100:.4g}%"
