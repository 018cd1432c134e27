"""A part of a text file: a range of whole records, with the numbers of its first line and row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from batchline.constants import RECORD_MAX_BYTES
from batchline.file_errors import SourceChanged
from batchline.files.arrays import nothing
from batchline.files.blocks import Block, Kept, RowError, Trouble
from batchline.files.kinds import Kind
from batchline.files.locations import Location
from batchline.files.options import ReadOptions
from batchline.files.pieces import TOO_LARGE, EndsOf, block_bytes, pieces
from batchline.files.records import Positions, count_lines, line_breaks
from batchline.files.texts import Text

BROKEN = {
    "unclosed_quote": "a quote opens a cell and is never closed",
    TOO_LARGE: f"the record has more than {RECORD_MAX_BYTES:,} bytes",
}
MALFORMED = {*BROKEN, "wrong_field_count", "invalid_encoding", "invalid_json"}
"""Problems of rows that are not in their format. Other rows have an invalid value."""


class Records(Kept, Protocol):
    """The records of a piece, without blank lines."""

    @property
    def data(self) -> bytes: ...
    @property
    def starts(self) -> NDArray[Any]: ...

    def keeping(self, names: Sequence[str] | None) -> Self: ...
    def mended(self, rows: Iterable[int]) -> Self: ...


class TextFile(Protocol):
    """A file of records."""

    @property
    def location(self) -> Location: ...
    @property
    def options(self) -> ReadOptions: ...
    @property
    def ends_of(self) -> EndsOf: ...

    def records(self, data: bytes, ends: Positions) -> Records: ...

    def read_features(
        self, records: Any, features: Mapping[str, Kind], trouble: Trouble
    ) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class TextPart:
    """Whole records of a text file.

    Args:
        start, stop: the range in the text.
        first_line, first_row: their numbers in the file, from 1.
        rows: how many rows it has, those that cannot be read included.
        blank_lines: how many lines were skipped because they were blank.
        bytes_read: how much of the file was read up to its end.
    """

    file: TextFile
    start: int
    stop: int
    first_line: int
    first_row: int
    rows: int
    blank_lines: int
    bytes_read: int
    broken: str
    _records: Records | None = field(repr=False, compare=False)

    @property
    def path(self) -> str:
        return self.file.location.path

    @property
    def row_group(self) -> None:
        return None

    def blocks(
        self, features: Mapping[str, Kind], keep: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """Read the part: it is a single block.

        Raises:
            FileUnreadable, SourceChanged: the file is no longer what it was.
        """
        records = self._records or self._load()
        trouble = Trouble()
        if self.broken:
            trouble.add(0, self.broken, BROKEN[self.broken])
            values = {name: nothing(1, kind.arrow_type) for name, kind in features.items()}
        else:
            values = self.file.read_features(records, features, trouble)

        @cache
        def lines() -> NDArray[np.int64]:
            breaks = line_breaks(records.data, np.frombuffer(records.data, np.uint8))
            return np.searchsorted(breaks, records.starts, side="right") + self.first_line

        errors = {
            row: self._error(row, int(lines()[row]), *why) for row, why in trouble.found.items()
        }
        malformed = [row for row, (code, *_) in trouble.found.items() if code in MALFORMED]
        yield Block(
            self.rows,
            values,
            records.keeping(keep).mended(malformed),
            errors,
            self.first_row,
            self.blank_lines,
            lines,
        )

    def digest(self) -> str:
        records = self._records or self._load()
        return sha256(records.data).hexdigest()

    def detached(self) -> "TextPart":
        """Return it without its bytes, if they can be read again."""
        reopens = self.file.location.reopens and not self.broken
        return replace(self, _records=None) if reopens else self

    def _error(
        self, row: int, line: int, code: str, detail: str, column: str, value: str
    ) -> RowError:
        path, number = self.file.location.path, self.first_row + row
        return RowError(code, detail, path, number, line, None, column, value)

    def _load(self) -> Records:
        text = Text(self.file.location, self.file.options)
        try:
            text.skip_to(self.start)
            data = text.read(self.stop - self.start)
        finally:
            text.close()
        if len(data) != self.stop - self.start or not self.file.location.is_unchanged():
            raise SourceChanged(f"{self.file.location.name} changed while it was read")
        data = data if data.endswith(b"\n") else data + b"\n"
        return self.file.records(data, self.file.ends_of(data))


def parts_of(file: TextFile, text: Text, start: int, line: int) -> Iterator[TextPart]:
    """Cut a text into parts. It was read up to `start`, where the line number `line` begins."""
    row = 1
    for piece in pieces(text, start, file.ends_of, block_bytes(file.location.size)):
        records = file.records(piece.data, piece.ends)
        rows = len(records)
        yield TextPart(
            file,
            piece.start,
            piece.stop,
            line,
            row,
            rows,
            len(piece.ends) - rows,
            text.bytes_read,
            piece.broken if rows else "",
            records,
        )
        row, line = row + rows, line + (1 if piece.broken else count_lines(piece.data))
