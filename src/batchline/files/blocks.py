"""A block of rows: what every reader returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchline.constants import ERROR_VALUE_MAX_CHARACTERS
from batchline.files.options import input_name

Mask = NDArray[np.bool_]


class Kept(Protocol):
    """Rows as they came, for the output. Only the writer of their own format looks inside."""

    def __len__(self) -> int: ...

    def select(self, rows: Mask) -> Self:
        """Return the rows at which the mask is true."""
        ...

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the columns of this schema, which is a part of the source's `kept`."""
        ...


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row cannot be read.

    Args:
        row: its number among the rows of its file, from 1. Blank lines are no rows.
        line: the line on which it begins, from 1. None for Parquet.
        row_group: of a Parquet file, from 0.
        column: the name of the column, or "" if the row as a whole is wrong.
        value: the invalid value, shortened.
        id: the id of the row, shortened, if its source has ids.
    """

    code: str
    detail: str
    file: str
    row: int
    line: int | None = None
    row_group: int | None = None
    column: str = ""
    value: str = ""
    id: str = ""

    def __str__(self) -> str:
        place = f"row {self.row}" if self.line is None else f"line {self.line}"
        if self.row_group is not None:
            place += f" (row group {self.row_group})"
        if self.id:
            place += f" (id {self.id})"
        column = f", column {self.column!r}" if self.column else ""
        value = f", got {self.value!r}" if self.value and ", got " not in self.detail else ""
        return f"{input_name(self.file)}, {place}{column}: {self.detail}{value}"


class Note(Protocol):
    """Notes what is wrong with a row."""

    def __call__(
        self, row: int, code: str, detail: str, column: str = "", value: str = ""
    ) -> None: ...


@dataclass
class Trouble:
    """What is wrong with the rows of a block, the first problem of each."""

    found: dict[int, tuple[str, str, str, str]] = field(default_factory=dict)

    def add(self, row: int, code: str, detail: str, column: str = "", value: str = "") -> None:
        if row not in self.found:
            self.found[row] = (code, detail, column, value[:ERROR_VALUE_MAX_CHARACTERS])

    def at(self, rows: NDArray[np.intp]) -> Note:
        """Return what notes problems of these rows, each under its position among them."""

        def note(row: int, code: str, detail: str, column: str = "", value: str = "") -> None:
            self.add(int(rows[row]), code, detail, column, value)

        return note

    def mask(self, rows: int) -> Mask:
        """Return where there is a problem."""
        found = np.zeros(rows, bool)
        found[list(self.found)] = True
        return found


@dataclass(frozen=True)
class Block:
    """Rows of one file, one after the other.

    Args:
        rows: how many, those that cannot be read included.
        features: one array of `rows` values for each feature, of exactly the asked type. Missing
            values, and all values of rows with an error, are null.
        kept: the rows for the output.
        errors: what is wrong, by the position in the block.
        first_row: the number of the first row in its file, from 1.
        blank_lines: how many lines were skipped because they were blank.
        ids: the id of each row, if the source has ids.
    """

    rows: int
    features: dict[str, pa.Array]
    kept: Kept
    errors: dict[int, RowError]
    first_row: int
    blank_lines: int = 0
    _lines: Callable[[], NDArray[np.int64] | None] = lambda: None
    ids: Sequence[object] | None = None

    @property
    def lines(self) -> NDArray[np.int64] | None:
        """The line on which each row begins, from 1. None for Parquet."""
        return self._lines()

    @property
    def good(self) -> Mask:
        """Where a row has no error."""
        found = np.ones(self.rows, bool)
        found[list(self.errors)] = False
        return found
