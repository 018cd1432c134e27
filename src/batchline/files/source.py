"""Files as one stream of parts, in an order and with borders that are the same each time."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, Self

import pyarrow as pa

from batchline.constants import MAX_REPORTED_FAULTS
from batchline.errors import Fault
from batchline.file_errors import FormatUnknown, InvalidColumns
from batchline.files.blocks import Block
from batchline.files.columns import missing, repeated
from batchline.files.common_type import TYPE_HINT, common_field
from batchline.files.csv_file import CsvFile
from batchline.files.kinds import Kind
from batchline.files.locations import Location, find_files
from batchline.files.options import Format, ReadOptions, WriteOptions, default_delimiter

KEEP_HINT = "name columns that all files have: --keep NAME,NAME, or --keep none"
REPEATED_HINT = "give them different names, or name the columns to keep: --keep NAME,NAME"


class Part(Protocol):
    """Rows of one file, which any process can read by itself."""

    @property
    def path(self) -> str: ...

    @property
    def row_group(self) -> int | None:
        """The number of the row group of a Parquet file, otherwise None."""
        ...

    @property
    def rows(self) -> int:
        """How many rows, those that cannot be read included."""
        ...

    @property
    def first_row(self) -> int: ...

    @property
    def blank_lines(self) -> int: ...

    @property
    def bytes_read(self) -> int:
        """How much of the file was read up to the end of the part."""
        ...

    def blocks(
        self, features: Mapping[str, Kind], keep: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """Read the rows.

        Args:
            keep: the columns that the output needs. None: all.
        """
        ...

    def digest(self) -> str:
        """Return a hash of its bytes. Text is decompressed and UTF-8.

        Raises:
            FileUnreadable, SourceChanged: the file is no longer what it was.
        """
        ...

    def detached(self) -> "Part":
        """Return the part as small as it can be sent to another process."""
        ...


class File(Protocol):
    """A file whose columns are known."""

    @property
    def location(self) -> Location: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def allows_missing_keys(self) -> bool:
        """Whether a column of another file may be missing in this one."""
        ...

    @property
    def is_open_ended(self) -> bool:
        """Whether rows that were not read yet may have more columns."""
        ...

    @property
    def kept(self) -> pa.Schema:
        """The columns as they are kept for the output."""
        ...

    def check(self, features: Mapping[str, Kind]) -> list[Fault]: ...

    def close(self) -> None: ...

    def parts(self) -> Iterator[Part]: ...


class Source:
    """Files of one format."""

    def __init__(self, files: Sequence[File], format_: Format) -> None:
        self.files = files
        self.format = format_
        self.rows = 0
        """Rows of the parts so far, those that cannot be read included."""
        self.blank_lines = 0
        self.is_read = False
        """Whether the end of the last file was seen."""

    def close(self) -> None:
        """Close what could not be opened a second time, such as standard input."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def total_bytes(self) -> int | None:
        """The size of all files, or None if only reading shows it."""
        sizes = [file.location.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def check(self, features: Mapping[str, Kind], keep: Sequence[str] | None = None) -> pa.Schema:
        """Return the columns that are kept for the output.

        Args:
            features: what the rows must have.
            keep: names of the columns to keep. None keeps all.

        Raises:
            InvalidColumns: a file has not these columns. All problems of all files are in `faults`.
        """
        faults = [fault for file in self.files for fault in file.check(features)]
        every = dict.fromkeys(name for file in self.files for name in file.columns)
        names = list(every) if keep is None else list(keep)
        required = [name for name, kind in features.items() if not kind.optional]
        first = self.files[0].kept
        is_whole = keep is None and all(file.kept == first for file in self.files)
        may_repeat = [""] if is_whole and self.format is Format.CSV else []
        for file in self.files:
            known = every if file.allows_missing_keys else file.columns
            faults += _kept_faults(file, names, {*known, *required}, may_repeat)
        _raise(faults)
        return first if is_whole else self._kept(names)

    def _kept(self, names: Sequence[str]) -> pa.Schema:
        """Return the kept columns. Files may have them in other orders and as other types."""
        fields: dict[str, pa.Field] = {}
        clashes: dict[str, Fault] = {}
        for file in self.files:
            schema = file.kept
            for name in set(names).intersection(schema.names):
                field = schema.field(name)
                before = fields.setdefault(name, field)
                found = field if field == before else common_field(before, field)
                if found is None:
                    clashes.setdefault(name, _clash(file, field, before))
                else:
                    fields[name] = found
        _raise([clashes[name] for name in names if name in clashes])
        unseen = pa.string()  # of a key that only lines may have that were not read yet
        return pa.schema(
            [fields.get(n, pa.field(n, unseen)) for n in names], self.files[0].kept.metadata
        )

    def write_options(self, path: str) -> WriteOptions:
        """Return the options for an output like the first file, as far as its name agrees."""
        first = self.files[0]
        if not isinstance(first, CsvFile):
            return WriteOptions()
        dialect = first.dialect
        delimiter = dialect.delimiter if default_delimiter(path) == "," else None
        return WriteOptions(None, delimiter, dialect.decimal, first.newline)

    def parts(self) -> Iterator[Part]:
        """Return the parts of all files in order.

        Raises:
            FileUnreadable, SourceChanged: as soon as it is found out.
        """
        self.rows, self.blank_lines, self.is_read = 0, 0, False
        for file in self.files:
            for part in file.parts():
                self.rows += part.rows
                self.blank_lines += part.blank_lines
                yield part
        self.is_read = True


def open_source(paths: Sequence[str], options: ReadOptions) -> Source:
    """Find files and read their headers."""
    locations = find_files(paths)
    formats = {location.path: options.format_of(location.path) for location in locations}
    if len(set(formats.values())) > 1:
        named = {format_: path for path, format_ in formats.items()}
        raise FormatUnknown(
            "the files have different formats: "
            + ", ".join(f"{path} is {format_}" for format_, path in named.items()),
            hint="run the command once for each format, or add --input-format",
        )
    format_ = next(iter(formats.values()))
    opened = _opener(format_)
    return Source([opened(location, options) for location in locations], format_)


def _opener(format_: Format) -> Callable[[Location, ReadOptions], File]:
    """Return what opens a file of a format. Only its own modules are imported."""
    if format_ is Format.PARQUET:
        from batchline.files.parquet_file import ParquetFile

        return ParquetFile.open
    if format_ is Format.JSONL:
        from batchline.files.json_file import JsonFile

        return JsonFile.open
    return CsvFile.open


def _kept_faults(
    file: File, names: Sequence[str], known: Collection[str], may_repeat: Collection[str]
) -> list[Fault]:
    path, columns = file.location.path, Counter(file.columns)
    absent = [] if file.is_open_ended else [name for name in names if name not in known]
    twice = [name for name in dict.fromkeys(names) if columns[name] > 1 and name not in may_repeat]
    return missing(path, absent, file.columns, names, end=" and cannot be kept", hint=KEEP_HINT) + [
        repeated(path, file.columns, name, REPEATED_HINT) for name in twice
    ]


def _clash(file: File, field: pa.Field, before: pa.Field) -> Fault:
    detail = f"the type of {field.name!r} is {field.type}, but {before.type} in the files before"
    return Fault(file.location.path, "wrong_type", f"{detail}, so it cannot be kept", TYPE_HINT)


def _raise(faults: Sequence[Fault]) -> None:
    if faults:
        faults = list(dict.fromkeys(faults))
        hint = next((fault.hint for fault in faults if fault.hint), "")
        raise InvalidColumns(_summary(faults), hint=hint, faults=faults)


def _summary(faults: Sequence[Fault]) -> str:
    lines = [f"{fault.pointer}: {fault.detail}" for fault in faults[:MAX_REPORTED_FAULTS]]
    if len(faults) > len(lines):
        lines.append(f"and {len(faults) - len(lines)} more problems")
    return "\n".join(lines)
