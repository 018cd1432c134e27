"""How many rows were predicted, and what was wrong with the others."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from batchline.file_errors import TooManyErrors
from batchline.files.blocks import RowError
from batchline.scoring.error_limit import ErrorLimit

SHOWN_ERRORS = 10


@dataclass
class Summary:
    """The outcome of a run so far."""

    rows: int = 0
    blank_lines: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    first_errors: list[RowError] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def predicted(self) -> int:
        return self.rows - self.failed

    def add(self, rows: int, blank_lines: int, errors: Iterable[RowError]) -> None:
        self.rows += rows
        self.blank_lines += blank_lines
        for error in errors:
            self.errors[error.code] += 1
            if len(self.first_errors) < SHOWN_ERRORS:
                self.first_errors.append(error)

    def include(self, next_rows: "Summary") -> None:
        """Add the outcome of the rows behind these."""
        self.rows += next_rows.rows
        self.blank_lines += next_rows.blank_lines
        self.errors += next_rows.errors
        more = next_rows.first_errors[: SHOWN_ERRORS - len(self.first_errors)]
        self.first_errors += more

    def check(self, limit: ErrorLimit, *, at_end: bool = False) -> None:
        """Check that not too many rows have errors.

        Raises:
            TooManyErrors: more rows than `limit` have errors.
        """
        if limit.is_exceeded(self.failed, self.rows, at_end=at_end):
            raise TooManyErrors(
                f"{self.failed} of {self.rows} rows have errors, and the limit is {limit}. The "
                f"first one: {self.first_errors[0]}",
                hint="correct the rows, or raise --max-errors",
            )

    def state(self) -> dict[str, Any]:
        """Return everything as JSON, for `of_state`."""
        errors = [asdict(error) for error in self.first_errors]
        return {
            "rows": self.rows,
            "blank_lines": self.blank_lines,
            "errors": dict(self.errors),
            "first_errors": errors,
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any] | None) -> Self:
        if state is None:
            return cls()
        errors = [RowError(**each) for each in state["first_errors"]]
        return cls(state["rows"], state["blank_lines"], Counter(state["errors"]), errors)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "predicted": self.predicted,
            "failed": self.failed,
            "errors": dict(self.errors.most_common()),
            "blank_lines": self.blank_lines,
        }
