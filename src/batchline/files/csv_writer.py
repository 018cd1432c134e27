"""Blocks → CSV: the kept records' own bytes with the new columns behind them."""

from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchline.files.arrays import from_numpy, mask_of, scalar, validity, without
from batchline.files.blocks import Kept
from batchline.files.csv_floats import floats_at_end, joined_floats
from batchline.files.csv_records import CsvRecords
from batchline.files.value_texts import characters, is_nested, join, json_text, plain_text


class Stream(Protocol):
    def write(self, data: Any) -> Any: ...


class CsvWriter:
    """Writes CSV with quotes only where they are needed.

    Null is an empty cell. An empty text is `""`, and so is the null of a file with one column, in
    which an empty cell would be a blank line. Nested values are JSON.
    """

    def __init__(
        self, kept: pa.Schema, new: pa.Schema, delimiter: str, decimal: str, newline: str
    ) -> None:
        self._kept = kept
        self._delimiter = delimiter
        self._decimal = decimal
        self._newline = newline.encode()
        self._names = [*kept.names, *new.names]

    def begin(self, stream: Stream, written: BinaryIO | None = None) -> None:
        self._stream = stream
        if written is not None:
            return
        names = [_quoted_name(name, self._delimiter) for name in self._names]
        stream.write(self._delimiter.join(names).encode() + self._newline)

    def encode(self, kept: Kept, new: pa.RecordBatch) -> memoryview:
        """Return the text of these rows. Threads may call it at the same time."""
        if (text := self._predicted_lines(kept, new)) is not None:
            return text
        cells = [self._cells(column, self._decimal) for column in new.columns]
        if self._keeps_bytes(kept):
            cells.insert(0, kept.texts())  # type: ignore[attr-defined]
        else:
            kept_cells = [self._cells(column, ".") for column in kept.table(self._kept).columns]
            cells = kept_cells + cells
        return self._lines(cells)

    def _predicted_lines(self, kept: Kept, new: pa.RecordBatch) -> memoryview | None:
        """Return what `encode` does, for rows that are kept as they are and have no errors.

        It takes half of the time. Return None for any other rows.
        """
        *columns, errors = new.columns
        count = floats_at_end(columns)
        if not count or errors.null_count < len(errors) or not self._keeps_bytes(kept):
            return None
        lines = kept.texts_behind(self._newline)  # type: ignore[attr-defined]
        marks = self._delimiter, self._decimal, self._newline
        floats = None if lines is None else joined_floats(columns[-count:], *marks)
        if floats is None:
            return None
        cells = [self._cells(column, self._decimal) for column in columns[:-count]]
        return whole_text(_joined(scalar(self._delimiter.encode()), lines, *cells, floats))

    def write(self, encoded: memoryview) -> None:
        self._stream.write(encoded)

    def flush(self) -> bool:
        return True

    def end(self) -> None:
        pass

    def _keeps_bytes(self, kept: Kept) -> bool:
        return (
            isinstance(kept, CsvRecords)
            and list(kept.dialect.header) == self._kept.names
            and kept.dialect.delimiter == self._delimiter
        )

    def _lines(self, cells: list[pa.Array]) -> memoryview:
        if len(self._names) == 1 and cells[0].null_count:
            cells = [pc.fill_null(cells[0], scalar(b'""'))]
        # Each part costs the same per row, so the delimiter is what joins them, and no part itself.
        newline, last = scalar(self._newline), cells[-1]
        if not len(last):
            return memoryview(b"")
        ends = newline if last.null_count == len(last) else _joined(scalar(b""), last, newline)
        return whole_text(_joined(scalar(self._delimiter.encode()), *cells[:-1], ends))

    def _cells(self, column: pa.Array, decimal: str) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            return self._cells(column.dictionary, decimal).take(column.indices)
        nested = is_nested(column.type)
        texts = without(json_text(column), ~validity(column)) if nested else plain_text(column)
        if decimal != "." and pa.types.is_floating(column.type):
            texts = pc.replace_substring(texts, ".", decimal)
        return self._quoted(texts).cast(pa.binary())

    def _quoted(self, texts: pa.Array) -> pa.Array:
        found = characters(texts)
        special = [each for each in ('"', self._delimiter, "\n", "\r") if each.encode() in found]
        empty = pc.binary_length(texts).to_numpy(zero_copy_only=False) == 0
        if not special and not empty.any():
            return texts
        needs = empty
        for each in special:
            needs = needs | mask_of(pc.match_substring(texts, each))
        if '"' in special:
            texts = pc.replace_substring(texts, '"', '""')
        return pc.if_else(from_numpy(needs, pa.bool_()), join(b'"', texts, b'"'), texts)


def _joined(between: pa.Scalar, *parts: pa.Array | pa.Scalar) -> pa.Array:
    """Return the parts of each row as one text. Null is an empty part."""
    return pc.binary_join_element_wise(
        *parts, between, null_handling="replace", null_replacement=""
    )


def whole_text(texts: pa.Array) -> memoryview:
    """Return the characters of all texts, one behind the other."""
    if not len(texts):
        return memoryview(b"")
    offsets = np.frombuffer(texts.buffers()[1], np.int32)
    return memoryview(texts.buffers()[2])[offsets[0] : offsets[len(texts)]]


def _quoted_name(name: str, delimiter: str) -> str:
    if not name or any(each in name for each in ('"', delimiter, "\n", "\r")):
        return '"' + name.replace('"', '""') + '"' if name else name
    return name
