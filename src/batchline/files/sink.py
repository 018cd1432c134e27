"""An output of rows: written in order, and visible once the caller confirms their number."""

import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from batchline.errors import Fault, FileError, InvalidColumns, NotWritten
from batchline.files.blocks import Kept
from batchline.files.csv_writer import CsvWriter, Stream
from batchline.files.options import Format, WriteOptions
from batchline.files.outputs import Output, not_written, open_output
from batchline.files.value_texts import has_text

GZIP_LEVEL = 4


class Writer(Protocol):
    """Writes one format."""

    def begin(self, stream: Stream) -> None: ...
    def encode(self, kept: Kept, new: pa.RecordBatch) -> Any: ...
    def write(self, encoded: Any) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in the format of their sink."""

    rows: int
    content: Any


class Sink:
    """One output file, or standard output.

    Leaving its `with` block without `commit` removes all that was written, and leaves a file of
    that name as it was.
    """

    def __init__(
        self, path: str, output: Output, writer: Writer, new: pa.Schema, codec: str
    ) -> None:
        self.path = path
        self.rows = 0
        self.bytes = 0
        """About how much was written, before it is compressed."""
        self._output = output
        self._writer = writer
        self._new = new
        self._raw = _Uncloseable(output)
        self._stream: Any = self._raw
        if codec:
            self._stream = _compressed(self._stream, codec)
        self._is_open = True
        self._guarded(writer.begin, self._stream)

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        """Return rows with their new columns in the format of the output.

        Threads may call it at the same time.
        """
        batch = pa.RecordBatch.from_arrays(new, schema=self._new)
        if len(kept) != batch.num_rows:
            raise ValueError(f"{len(kept)} kept rows, but {batch.num_rows} new ones")
        return Encoded(len(kept), self._writer.encode(kept, batch))

    def write(self, encoded: Encoded) -> None:
        """Add rows.

        Raises:
            NotWritten: the disk is full, for example.
        """
        self._guarded(self._writer.write, encoded.content)
        self.rows += encoded.rows
        self.bytes += _size(encoded.content)

    def commit(self, rows: int) -> None:
        """Make the output visible under its name.

        Args:
            rows: how many rows were to be written, as the caller counted them.

        Raises:
            NotWritten: another number was written, or the output cannot be completed.
        """
        if rows != self.rows:
            raise NotWritten(f"{self.rows} rows of {rows} were written to {self.path}")
        self._guarded(self._writer.end)
        self._guarded(self._stream.close)
        self._guarded(self._output.commit)
        self._is_open = False

    def abort(self) -> None:
        """Remove all that was written."""
        if self._is_open:
            self._is_open = False
            self._raw.discard()
            self._output.abort()

    def _guarded(self, act: Any, *values: Any) -> None:
        try:
            act(*values)
        except FileError:
            self.abort()
            raise
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            self.abort()
            raise not_written(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()


def open_sink(path: str, kept: pa.Schema, new: pa.Schema, options: WriteOptions) -> Sink:
    """Open an output file after all columns were checked."""
    format_ = options.format_of(path)
    faults = list(_faults(path, kept, new, format_))
    if faults:
        details = "\n".join(fault.detail for fault in faults)
        raise InvalidColumns(f"{path} cannot have these columns: {details}", faults=faults)
    writer = _writer(path, format_, kept, new, options)
    codec = "" if format_ is Format.PARQUET else options.compression_of(path)
    return Sink(path, open_output(path), writer, new, codec)


def _compressed(stream: Any, codec: str) -> Any:
    """Return a stream that compresses. pyarrow's own gzip takes eight times as long."""
    if codec == "gzip":
        return gzip.GzipFile("", "wb", GZIP_LEVEL, stream, mtime=0)
    return pa.CompressedOutputStream(pa.PythonFile(stream, "w"), codec)


def _size(content: Any) -> int:
    return content.nbytes if isinstance(content, pa.RecordBatch) else len(content)


def _writer(
    path: str, format_: Format, kept: pa.Schema, new: pa.Schema, options: WriteOptions
) -> Writer:
    if format_ is Format.PARQUET:
        from batchline.files.parquet_writer import ParquetWriter

        return ParquetWriter(kept, new)
    if format_ is Format.JSONL:
        from batchline.files.json_writer import JsonWriter

        return JsonWriter(kept, new)
    delimiter = options.delimiter_of(path)
    return CsvWriter(kept, new, delimiter, options.decimal, options.newline)


def _faults(path: str, kept: pa.Schema, new: pa.Schema, format_: Format) -> Iterator[Fault]:
    for name, count in Counter([*kept.names, *new.names]).items():
        if count > 1 and (name or format_ is not Format.CSV):
            yield Fault(path, "repeated_column", f"two columns would be named {name!r}")
    if format_ is Format.PARQUET:
        return
    for field in [*kept, *new]:
        if not has_text(field.type):
            detail = f"{format_} cannot hold the column {field.name!r} of type {field.type}"
            yield Fault(path, "wrong_type", detail)


class _Uncloseable:
    """An output for pyarrow, which closes what it writes to."""

    closed = False

    def __init__(self, output: Output) -> None:
        self._output: Output | None = output

    def write(self, data: Any) -> int:
        return len(data) if self._output is None else self._output.write(data)

    def discard(self) -> None:
        """Ignore what pyarrow's writers write when they are deleted."""
        self._output = None

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
