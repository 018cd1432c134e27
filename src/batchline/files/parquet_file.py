"""A Parquet file: its schema, and its row groups, which are the parts."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO, Self, cast

import pyarrow as pa
from pyarrow import parquet

from batchline.constants import FILE_BLOCK_ROWS, PARQUET_BLOCK_BYTES
from batchline.errors import Fault
from batchline.file_errors import FileUnreadable, SourceChanged
from batchline.files.blocks import Block, RowError, Trouble
from batchline.files.kinds import Kind
from batchline.files.locations import Location, is_url
from batchline.files.options import ReadOptions
from batchline.files.table_rows import TableRows
from batchline.files.typed import column_faults, features_of

COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file whose footer was read.

    Args:
        kept: its schema.
        group_rows, group_bytes: of each row group.
    """

    location: Location
    kept: pa.Schema
    group_rows: tuple[int, ...]
    group_bytes: tuple[int, ...]
    _copy: BinaryIO | None = field(default=None, repr=False, compare=False)
    """A copy of standard input, since the footer of a Parquet file is read first."""

    @classmethod
    def open(cls, location: Location, options: ReadOptions) -> Self:
        """Read the footer.

        Raises:
            FileUnreadable: the file is empty, cut off or no Parquet file.
        """
        if location.size == 0:
            raise FileUnreadable(f"{location.name} is empty")
        copy = None if location.reopens else _copied(location)
        with _opened(location, copy) as file:
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            rows = tuple(group.num_rows for group in groups)
            sizes = tuple(group.total_byte_size for group in groups)
            return cls(location, file.schema_arrow, rows, sizes, copy)

    @property
    def allows_missing_keys(self) -> bool:
        return False

    @property
    def is_open_ended(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.kept.names)

    def close(self) -> None:
        if self._copy:
            self._copy.close()

    def check(self, features: Mapping[str, Kind]) -> list[Fault]:
        """Return what is wrong with the columns."""
        return list(column_faults(self.location.path, self.kept, features))

    def parts(self) -> Iterator["ParquetPart"]:
        """Return the row groups in order."""
        first, read = 1, 0
        total = sum(self.group_bytes) or 1
        for group, rows in enumerate(self.group_rows):
            read += self.group_bytes[group]
            if rows:
                share = (self.location.size or 0) * read // total
                yield ParquetPart(self, group, first, rows, share)
            first += rows


@dataclass(frozen=True, slots=True)
class ParquetPart:
    """A row group.

    Args:
        bytes_read: about how much of the file lies before its end.
    """

    file: ParquetFile
    group: int
    first_row: int
    rows: int
    bytes_read: int
    blank_lines: int = 0

    @property
    def path(self) -> str:
        return self.file.location.path

    @property
    def row_group(self) -> int:
        return self.group

    def digest(self) -> str:
        """Return a hash of the row group as it is in the file.

        A file that is not on this machine is not read for this: its size and its ETag or time stand
        for its bytes.
        """
        location = self.file.location
        found = sha256(f"{self.group} {self.rows}".encode())
        if is_url(location.path):
            found.update(location.stamp.encode())
            return found.hexdigest()
        with _opened(location, None) as file:
            group = file.metadata.row_group(self.group)
            columns = [group.column(place) for place in range(group.num_columns)]
        with location.open() as raw:
            for column in columns:
                raw.seek(first_page(column))
                found.update(raw.read(column.total_compressed_size))
        return found.hexdigest()

    def detached(self) -> "ParquetPart":
        if self.file._copy is None:
            return self
        raise FileUnreadable("another process cannot read standard input")

    def blocks(
        self, features: Mapping[str, Kind], keep: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """Read the row group.

        Raises:
            FileUnreadable, SourceChanged: the file is damaged, or no longer what it was.
        """
        present = [name for name in features if name in self.file.columns]
        columns = None if keep is None else list(dict.fromkeys([*present, *keep]))
        row = self.first_row
        with _opened(self.file.location, self.file._copy) as file:
            for batch in file.iter_batches(
                self._rows_at_a_time(), [self.group], columns, use_threads=False
            ):
                yield self._block(batch, features, row)
                row += batch.num_rows
        if row != self.first_row + self.rows or not self.file.location.is_unchanged():
            raise SourceChanged(f"{self.file.location.name} changed while it was read")

    def _rows_at_a_time(self) -> int:
        size = max(self.file.group_bytes[self.group] // self.rows, 1)
        return max(1, min(FILE_BLOCK_ROWS, PARQUET_BLOCK_BYTES // size))

    def _block(self, batch: pa.RecordBatch, features: Mapping[str, Kind], first: int) -> Block:
        trouble, rows = Trouble(), batch.num_rows
        values = features_of(batch, features, trouble)
        path = self.file.location.path
        errors = {
            row: RowError(code, detail, path, first + row, None, self.group, column, value)
            for row, (code, detail, column, value) in trouble.found.items()
        }
        return Block(rows, values, TableRows(batch, path), errors, first)


@contextmanager
def _opened(location: Location, copy: BinaryIO | None) -> Iterator[Any]:
    """Open a Parquet file.

    Raises:
        FileUnreadable: also if it turns out to be damaged while it is read.
    """
    file = copy or location.open()
    try:
        if file.seek(0) or file.read(4) != b"PAR1":
            raise FileUnreadable(f"{location.name} is not a Parquet file")
        yield parquet.ParquetFile(pa.PythonFile(file, "r"), pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise FileUnreadable(
            f"{location.name} is cut off or damaged, and cannot be read: {reason}"
        ) from error
    finally:
        if copy is None:
            file.close()


def first_page(column: Any) -> int:
    """Return where the bytes of a column of a row group begin."""
    dictionary: int | None = column.dictionary_page_offset
    data: int = column.data_page_offset
    return min(dictionary or data, data)


def _copied(location: Location) -> BinaryIO:
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # `close` closes it
    source = location.open()
    while data := source.read(COPY_BYTES):
        copy.write(data)
    return copy
