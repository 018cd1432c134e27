"""A CSV file: its header, and the parts in which it is read."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import pyarrow as pa
from pyarrow import csv

from batchline.constants import RECORD_MAX_BYTES
from batchline.errors import Fault
from batchline.file_errors import FileUnreadable
from batchline.files.blocks import Trouble
from batchline.files.columns import repeated, suggested
from batchline.files.csv_block import read_features
from batchline.files.csv_cells import Marks
from batchline.files.csv_records import CsvRecords, Dialect
from batchline.files.kinds import Kind
from batchline.files.locations import Location
from batchline.files.options import ReadOptions
from batchline.files.pieces import EndsOf
from batchline.files.records import Positions, count_lines, record_ends
from batchline.files.text_parts import TextPart, parts_of
from batchline.files.texts import Text
from batchline.files.utf8 import is_utf8

HEADER_BYTES = 64 * 1024
"""How much of each file is read at first to find its header."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file whose header was read.

    Args:
        dialect: names of the columns, delimiter, marks.
        newline: the line break behind the header.
        start: the position behind the header, in the text.
        first_line: the number of the line there.
    """

    location: Location
    options: ReadOptions
    dialect: Dialect
    newline: str
    start: int
    first_line: int
    _text: Text | None = field(default=None, repr=False, compare=False)
    """Standard input, read up to `start`."""

    @classmethod
    def open(cls, location: Location, options: ReadOptions) -> Self:
        """Read the header.

        Raises:
            FileUnreadable: there is none, or it is invalid.
        """
        text = Text(location, options)
        try:
            file, rest = cls._read(text, location, options)
        except BaseException:
            text.close()
            raise
        if location.reopens:
            text.close()
            return file
        text.unread(rest)
        return replace(file, _text=text)

    @classmethod
    def _read(cls, text: Text, location: Location, options: ReadOptions) -> tuple[Self, bytes]:
        """Return the file, and what was read behind its header."""
        delimiter = options.delimiter_of(location.path)
        start, lines, line, rest = _read_header(text, location.name, delimiter)
        header = line.rstrip(b"\r\n")
        if not is_utf8(header):
            raise FileUnreadable(
                f"the header of {location.name} is not UTF-8",
                hint="add --encoding with the encoding of the file",
            )
        names = _names(header, delimiter)
        dialect = Dialect(names, header, delimiter, options.decimal, options.nulls)
        newline = line[len(header) :].decode() or "\n"
        return cls(location, options, dialect, newline, text.start + start, lines + 1), rest

    @property
    def allows_missing_keys(self) -> bool:
        return False

    @property
    def is_open_ended(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return self.dialect.header

    @property
    def kept(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self.columns])

    def close(self) -> None:
        if self._text:
            self._text.close()

    def check(self, features: Mapping[str, Kind]) -> list[Fault]:
        """Return what is wrong with the columns."""
        missing = [self._missing(name, kind, features) for name, kind in features.items()]
        faults = [fault for fault in missing if fault]
        twice = [name for name in features if self.columns.count(name) > 1]
        return faults + [repeated(self.location.path, self.columns, name) for name in twice]

    def _missing(self, name: str, kind: Kind, features: Collection[str]) -> Fault | None:
        path = self.location.path
        if kind.width is not None:
            hint = "name one column for each value of the list: --columns FIRST,SECOND"
            return Fault(path, "wrong_type", f"CSV cannot hold {name!r}, a {kind}", hint)
        if kind.optional or name in self.columns:
            return None
        detail = f"the column {name!r} is missing. {suggested(name, self.columns, features)}"
        if len(self.columns) == 1 and (found := _other_delimiter(self.columns[0])):
            detail += f". If they are separated by {found!r}, add --delimiter '{found}'"
        return Fault(path, "missing_column", detail)

    def parts(self) -> Iterator[TextPart]:
        """Cut the file into parts, which are the same each time."""
        text = self._text or Text(self.location, self.options)
        try:
            if self._text is None:
                text.skip_to(self.start)
            yield from parts_of(replace(self, _text=None), text, self.start, self.first_line)
        finally:
            text.close()

    @property
    def ends_of(self) -> EndsOf:
        return partial(record_ends, delimiter=self.dialect.delimiter)

    def records(self, data: bytes, ends: Positions) -> CsvRecords:
        return CsvRecords.cut(data, ends, dialect=self.dialect)

    def read_features(
        self, records: CsvRecords, features: Mapping[str, Kind], trouble: Trouble
    ) -> dict[str, pa.Array]:
        marks = Marks(self.options.decimal, self.options.thousands)
        return read_features(records, features, marks, trouble)


def _read_header(text: Text, path: str, delimiter: str) -> tuple[int, int, bytes, bytes]:
    """Return the position behind the header, its lines, the header and what was read behind it."""
    data, size, more = b"", HEADER_BYTES, b"-"
    while more and len(data) <= RECORD_MAX_BYTES:
        more = text.read(size)
        data += more
        whole = data if more or data.endswith(b"\n") else data + b"\n"
        start = 0
        for end in record_ends(whole, delimiter).tolist():
            if whole[start:end].strip(b"\r\n"):
                lines = count_lines(whole[:end])
                return min(end, len(data)), lines, whole[start:end], data[end:]
            start = end
        size = len(data)
    if data.strip():
        raise FileUnreadable(f"the header of {path} has no end: is a quote not closed?")
    raise FileUnreadable(f"{path} is empty: it has no header")


def _names(header: bytes, delimiter: str) -> tuple[str, ...]:
    found = csv.read_csv(
        pa.BufferReader(header + b"\n"),
        read_options=csv.ReadOptions(block_size=len(header) + 2, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    )
    return tuple(found.column_names)


def _other_delimiter(name: str) -> str | None:
    return next((each for each in (";", "\t", "|", ",") if each in name), None)
