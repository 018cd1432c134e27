"""CSV records as bytes, and the cells that pyarrow finds in them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from batchline.file_errors import FileUnreadable
from batchline.files.arrays import single, spread
from batchline.files.byte_rows import ByteRows


@dataclass(frozen=True, slots=True)
class Dialect:
    """What all records of a file have in common.

    Args:
        header: the names of the columns, in order. They may repeat.
        header_line: the header as it is in the file, without its line break.
    """

    header: tuple[str, ...]
    header_line: bytes = b""
    delimiter: str = ","
    decimal: str = "."
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True)
class CsvRecords(ByteRows):
    """Records of one CSV file. Blank lines are left out."""

    dialect: Dialect

    def well_formed(self, row: int) -> bytes:
        """Return a record with as many cells as the header: the first ones, or empty ones behind.

        A byte that is not UTF-8 becomes U+FFFD. A cell whose quote is never closed ends at the next
        delimiter.
        """
        columns, delimiter = len(self.dialect.header), self.dialect.delimiter
        cells = split(self[row].decode("utf-8", "replace"), delimiter)[:columns]
        record = delimiter.join(cells + [""] * (columns - len(cells)))
        return (record or '""').encode()

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the cells of these columns as texts. An empty cell without quotes is null."""
        header = self.dialect.header
        place_of = {name: place for place, name in enumerate(header)}
        is_all = tuple(schema.names) == header  # and then names may repeat
        order = range(len(header)) if is_all else [place_of[name] for name in schema.names]
        places = dict(zip(order, schema.types, strict=True))
        plain = replace(self, dialect=replace(self.dialect, decimal=".", nulls=()))
        cells, _ = plain.cells(places)
        return pa.RecordBatch.from_arrays(list(cells.values()), schema=schema)

    def cells(self, types: Mapping[int, pa.DataType]) -> tuple[dict[int, pa.Array], dict[int, int]]:
        """Return columns by their position, and the rows with a wrong number of fields.

        Those rows are null in all columns. The dictionary has how many fields they have.

        Raises:
            pyarrow.ArrowInvalid: a cell is not of its type.
        """
        wrong: dict[int, int] = {}
        if not len(self):
            return {place: pa.nulls(0, type_) for place, type_ in types.items()}, wrong

        def note(row: Any) -> str:
            wrong[row.number - 1] = row.actual_columns
            return "skip"

        table = self._read({str(place): type_ for place, type_ in types.items()}, note)
        if table.num_rows + len(wrong) != len(self):
            raise FileUnreadable("pyarrow and Batchline found different numbers of records")
        right = np.ones(len(self), bool)
        right[list(wrong)] = False
        found = {place: spread(single(table[str(place)]), right) for place in types}
        return found, wrong

    def _read(self, types: Mapping[str, pa.DataType], note: Callable[[Any], str]) -> pa.Table:
        names = [str(place) for place in range(len(self.dialect.header))]
        data = self.joined()
        return csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                column_names=names, block_size=len(data) + 1, use_threads=False
            ),
            parse_options=csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=list(types) or names[:1],
                null_values=["", *self.dialect.nulls],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                decimal_point=self.dialect.decimal,
                check_utf8=False,
            ),
        )


def split(record: str, delimiter: str) -> list[str]:
    """Return the cells of a record as they are written, but with all quotes closed.

    A record with a quote that is never closed may have a CR, which then gets quotes, too.
    """
    return [
        _in_quotes(quoted + rest)
        if "\r" in rest or (rest.startswith('"') and not quoted)
        else quoted + rest
        for quoted, rest in _cell(delimiter).findall(record + delimiter)
    ]


@cache
def _cell(delimiter: str) -> re.Pattern[str]:
    """Return what matches a cell, the part in quotes and the rest, and the delimiter behind it."""
    end = re.escape(delimiter)
    return re.compile(f'((?:"(?:[^"]|"")*+")?+)([^{end}]*){end}')


def _in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
