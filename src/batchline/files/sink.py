"""An output of rows: written in order, and visible once the caller confirms their number."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import pyarrow as pa

from batchline.errors import Fault
from batchline.file_errors import FileError, InvalidColumns, NotWritten
from batchline.files.blocks import Kept
from batchline.files.columns import CLASH_HINT, listed
from batchline.files.compression import Compressed
from batchline.files.csv_writer import CsvWriter, Stream
from batchline.files.options import Format, WriteOptions
from batchline.files.outputs import KeptOutput, Mark, Output, Work, not_written, open_output
from batchline.files.value_texts import has_text


class Writer(Protocol):
    """Writes one format."""

    def begin(self, stream: Stream, written: BinaryIO | None = None) -> None:
        """Write what comes before the rows.

        Args:
            written: the rows so far, up to the position of this file, if the output is continued.
        """
        ...

    def encode(self, kept: Kept, new: pa.RecordBatch) -> Any: ...
    def write(self, encoded: Any) -> None: ...

    def flush(self) -> bool:
        """Write the rows that wait, if they are not too few. Return whether none waits."""
        ...

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in the format of their sink."""

    rows: int
    content: Any


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns rows into the format of an output. It can be sent to other processes."""

    writer: Writer
    new: pa.Schema

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        batch = pa.RecordBatch.from_arrays(new, schema=self.new)
        if len(kept) != batch.num_rows:
            raise ValueError(f"{len(kept)} kept rows, but {batch.num_rows} new ones")
        return Encoded(len(kept), self.writer.encode(kept, batch))


class Sink:
    """One output file, or standard output.

    Leaving its `with` block without `commit` removes all that was written, and leaves a file of
    that name as it was.
    """

    def __init__(
        self,
        path: str,
        output: Output,
        writer: Writer,
        new: pa.Schema,
        codec: str,
        mark: Mark | None = None,
    ) -> None:
        mark = mark or Mark()
        self.path = path
        self.rows = mark.rows
        self.bytes = mark.content
        """About how much was written, before it is compressed."""
        self._output = output
        self._writer = writer
        self._encoder = Encoder(writer, new)
        self._raw = _Uncloseable(output)
        self._stream: Any = self._raw
        self._is_open = True
        self._guarded(self._begin, codec, mark)

    def _begin(self, codec: str, mark: Mark) -> None:
        if not mark.offset:
            if codec:
                self._stream = Compressed(self._raw, codec)
            self._writer.begin(self._stream)
            return
        assert isinstance(self._output, KeptOutput)
        if codec:
            with self._output.replaced() as written:
                self._stream = Compressed(self._raw, codec)
                self._stream.repeat(written, mark.text)
                self._writer.begin(self._stream, written)
        else:
            with self._output.keep(mark.offset) as written:
                self._writer.begin(self._stream, written)

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        """Return rows with their new columns in the format of the output.

        Threads may call it at the same time.
        """
        return self._encoder.encode(kept, new)

    def write(self, encoded: Encoded) -> None:
        """Add rows.

        Raises:
            NotWritten: the disk is full, for example.
        """
        self._guarded(self._writer.write, encoded.content)
        self.rows += encoded.rows
        self.bytes += _size(encoded.content)

    def mark(self) -> Mark | None:
        """Make the rows safe from a power cut, and return how far they can be kept.

        Return None if they cannot be kept up to here.

        Raises:
            NotWritten: the disk is full, for example.
        """
        found: list[Mark] = []
        self._guarded(self._mark, found)
        return found[0] if found else None

    def _mark(self, found: list[Mark]) -> None:
        if self._writer.flush() and isinstance(self._output, KeptOutput):
            text = self._stream.flush_all() if isinstance(self._stream, Compressed) else 0
            found.append(Mark(self.rows, 0, self._output.sync(), text, self.bytes))

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

    def discard(self) -> None:
        """Remove all that was written, and was not removed with it."""
        self.abort()

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


def open_sink(
    path: str,
    kept: pa.Schema,
    new: pa.Schema,
    options: WriteOptions,
    work: Work | None = None,
) -> Sink:
    """Open an output file after all columns were checked."""
    format_ = options.format_of(path)
    check_columns(path, kept, new, format_)
    writer = _writer(path, format_, kept, new, options)
    codec = "" if format_ is Format.PARQUET else options.compression_of(path)
    return Sink(path, open_output(path, work), writer, new, codec, work.mark if work else None)


def encoder_of(path: str, kept: pa.Schema, new: pa.Schema, options: WriteOptions) -> Encoder:
    """Return the encoder of an output file, without opening it."""
    return Encoder(_writer(path, options.format_of(path), kept, new, options), new)


def check_columns(path: str, kept: pa.Schema, new: pa.Schema, format_: Format) -> None:
    """Check that a file can have these columns.

    Raises:
        InvalidColumns: two columns have one name, or the format cannot hold the type of one.
    """
    faults = list(_faults(path, kept, new, format_))
    if not faults:
        return
    clashes = any(fault.code == "repeated_column" for fault in faults)
    details = "\n".join(fault.detail for fault in faults)
    raise InvalidColumns(
        f"the output cannot have these columns: {details}",
        hint=CLASH_HINT if clashes else "name the columns to --keep",
        faults=faults,
    )


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
    counts = Counter([*kept.names, *new.names])
    twice = [each for each in counts if counts[each] > 1 and (each or format_ is not Format.CSV)]
    if twice:
        verb = "would be named" if len(twice) == 1 else "each would be named"
        yield Fault(path, "repeated_column", f"two columns {verb} {listed(twice)}")
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
