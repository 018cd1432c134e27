"""Blocks → Parquet. What was written can be kept, and continued after each row group.

Each row group is written as a Parquet file of its own, with its positions counted from the
beginning of the whole file. A last footer lists all groups. So a file that ends behind a row group
can be continued. The footers in between, of which no reader knows, take a few hundred bytes for
each column.
"""

import mmap
from io import BytesIO
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from batchline.constants import PARQUET_GROUP_BYTES, PARQUET_GROUP_ROWS
from batchline.files.blocks import Kept
from batchline.files.csv_writer import Stream
from batchline.files.parquet_file import first_page

MAGIC = b"PAR1"
SMALL = 4
"""Part of the usual size from which on a row group is worth being written."""
HOLE_BYTES = 1 << 30


class ParquetWriter:
    """Writes Parquet with the types of the input, and text for what comes from text."""

    def __init__(self, kept: pa.Schema, new: pa.Schema) -> None:
        self._kept = kept
        self._schema = pa.schema([*kept, *new], kept.metadata)
        self._repeating = [each.name for each in self._schema if not _is_float(each.type)]
        """Columns with dictionaries. Floats rarely repeat, and their dictionary takes memory."""
        self._waiting: list[pa.RecordBatch] = []
        self._groups: list[Any] = []
        """The footer of each row group."""

    def begin(self, stream: Stream, written: BinaryIO | None = None) -> None:
        self._stream = _Positioned(stream)
        if written is not None:
            self._stream.position = written.seek(0, 2)
            self._groups = _footers(written, self._stream.position)

    def encode(self, kept: Kept, new: pa.RecordBatch) -> pa.RecordBatch:
        """Return these rows as columns. Threads may call it at the same time."""
        columns = [*kept.table(self._kept).columns, *new.columns]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def write(self, encoded: pa.RecordBatch) -> None:
        self._waiting.append(encoded)
        if self._is_worth_a_group(1):
            self._write_group()

    def flush(self) -> bool:
        if self._waiting and self._is_worth_a_group(SMALL):
            self._write_group()
        return not self._waiting

    def end(self) -> None:
        if self._waiting or not self._groups:
            self._write_group()
        if len(self._groups) > 1:
            self._stream.write(_joined(self._groups))

    def _is_worth_a_group(self, part: int) -> bool:
        rows = sum(batch.num_rows for batch in self._waiting)
        size = sum(batch.nbytes for batch in self._waiting)
        return bool(rows * part >= PARQUET_GROUP_ROWS or size * part >= PARQUET_GROUP_BYTES)

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting = []
        file = pa.PythonFile(self._stream, "w")
        before = self._stream.position
        with parquet.ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=self._repeating
        ) as writer:
            self._stream.leap(file, before)
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
        self._groups.append(writer.writer.metadata)


class _Positioned:
    """A stream for pyarrow, which counts positions from where it began to write."""

    closed = False

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ignored = 0
        self.position = 0

    def write(self, data: Any) -> int:
        size = data.size if isinstance(data, pa.Buffer) else len(data)
        if self._ignored:
            self._ignored -= size
        else:
            self._stream.write(data)
            self.position += size
        return int(size)

    def leap(self, file: pa.PythonFile, size: int) -> None:
        """Have pyarrow count `size` bytes more than it has written."""
        self._ignored = size
        if size:
            hole = pa.py_buffer(mmap.mmap(-1, min(size, HOLE_BYTES)))  # takes no memory
        while self._ignored:
            file.write(hole.slice(0, min(self._ignored, HOLE_BYTES)))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def _is_float(type_: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type_))


def _footers(written: BinaryIO, end: int) -> list[Any]:
    """Return the footers of the row groups up to a position, by following them backwards."""
    found = []
    while end:
        footer = parquet.read_metadata(pa.PythonFile(_Beginning(written, end), "r"))
        found.append(footer)
        end = first_page(footer.row_group(0).column(0)) - len(MAGIC)
    return found[::-1]


class _Beginning:
    """The first bytes of a file, as a file."""

    closed = False

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        file.seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(self._size + offset if whence == 2 else offset, whence % 2)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))

    def close(self) -> None:
        pass


def _joined(footers: list[Any]) -> bytes:
    """Return one footer for all row groups."""
    file = BytesIO()
    footers[0].write_metadata_file(file)  # and no other one is needed
    whole = parquet.read_metadata(BytesIO(file.getvalue()))
    for footer in footers[1:]:
        whole.append_row_groups(footer)
    file = BytesIO()
    whole.write_metadata_file(file)
    return file.getvalue()[len(MAGIC) :]
