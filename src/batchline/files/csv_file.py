"""A CSV file: its header, and the parts in which it is read."""

import re
import shlex
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
from batchline.files.columns import SHOWN, missing, repeated
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

HEADER = "a first line with the names of the columns"
SHOWN_AS = {"\t": "\\t"}
"""How a delimiter is typed, if not as itself."""
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
        path = self.location.path
        lists = [self._list(name, kind.width) for name, kind in features.items() if kind.width]
        absent = [
            name
            for name, kind in features.items()
            if not (kind.width or kind.optional or name in self.columns)
        ]
        twice = [name for name in features if self.columns.count(name) > 1]
        return [
            *lists,
            *(
                self._explained(each, features)
                for each in missing(path, absent, self.columns, features)
            ),
            *(repeated(path, self.columns, name) for name in twice),
        ]

    def _list(self, name: str, width: int) -> Fault:
        """Say that the values of a list need columns, with those of the file as an example."""
        detail = f"{name!r} is a list of {width} values: name the columns that have them"
        names = self.columns[:width]
        shown = len(names) == width <= SHOWN and not any("," in each for each in names)
        example = f", such as --columns {shlex.quote(','.join(names))}" if shown else ""
        hint = f"name {width} columns in the order of the model with --columns{example}"
        return Fault(self.location.path, "wrong_type", detail, hint)

    def _explained(self, fault: Fault, features: Collection[str]) -> Fault:
        """Say why columns are missing if the whole header looks wrong."""
        if len(self.columns) == 1 and (found := _other_delimiter(self.columns[0])):
            return replace(fault, hint=f"add --delimiter '{SHOWN_AS.get(found, found)}'")
        if any(map(_is_number, self.columns)) and not set(features) & set(self.columns):
            detail = f"{fault.detail}. The first line looks like a row, not like a header"
            return replace(fault, detail=detail, hint=f"write {HEADER} into the file")
        return fault

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
    raise FileUnreadable(
        f"{path} is empty: it has no header",
        hint=f"leave the file out, or write {HEADER} into it",
    )


def _names(header: bytes, delimiter: str) -> tuple[str, ...]:
    found = csv.read_csv(
        pa.BufferReader(header + b"\n"),
        read_options=csv.ReadOptions(block_size=len(header) + 2, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    )
    return tuple(found.column_names)


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\s*[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)\s*", name) is not None


def _other_delimiter(name: str) -> str | None:
    return next((each for each in (";", "\t", "|", ",") if each in name), None)
