"""The features of CSV records: only their columns are parsed, each as the asked type."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from batchline.constants import ERROR_VALUE_MAX_CHARACTERS
from batchline.files.arrays import spread, values_of, without
from batchline.files.blocks import Note, Trouble
from batchline.files.csv_cells import Marks, convert
from batchline.files.csv_records import CsvRecords, split
from batchline.files.kinds import Kind
from batchline.files.utf8 import is_unicode, is_utf8

Cells = dict[int, pa.Array]
Kinds = Mapping[int, Kind]


def read_features(
    records: CsvRecords, features: Mapping[str, Kind], marks: Marks, trouble: Trouble
) -> dict[str, pa.Array]:
    """Return the values of each feature, and note the rows that cannot be read.

    Rows with a problem are null in every feature. So are features without a column.
    """
    _note_invalid_utf8(records, trouble.add)
    _note_repeated_headers(records, trouble.add)
    readable = ~trouble.mask(len(records))
    header = records.dialect.header
    kinds = {header.index(name): kind for name, kind in features.items() if name in header}
    cells = _values(records.select(readable), kinds, marks, trouble.at(np.flatnonzero(readable)))
    bad = trouble.mask(len(records))
    return {
        name: without(spread(cells[header.index(name)], readable), bad)
        if name in header
        else pa.nulls(len(records), kind.arrow_type)
        for name, kind in features.items()
    }


def _values(records: CsvRecords, kinds: Kinds, marks: Marks, note: Note) -> Cells:
    """Return columns by their position."""
    found = None if _needs_words(records, kinds, marks) else _as_types(records, kinds)
    cells, wrong = found or records.cells(dict.fromkeys(kinds, pa.string()))
    columns = len(records.dialect.header)
    for row, fields in wrong.items():
        detail, extra = f"expected {columns} fields, got {fields}", ""
        if fields > columns:
            extra = _fields_behind(records, row)[:ERROR_VALUE_MAX_CHARACTERS]
            detail += f". The output is without the last {fields - columns}: {extra!r}"
        note(row, "wrong_field_count", detail, "", extra)
    if found:
        return cells
    names = records.dialect.header
    return {
        place: convert(cells[place], kind, marks, partial(_note_cell, note, names[place]))
        for place, kind in kinds.items()
    }


def _fields_behind(records: CsvRecords, row: int) -> str:
    """Return the fields of a row that has too many as they are written."""
    dialect = records.dialect
    cells = split(records[row].decode(), dialect.delimiter)
    return dialect.delimiter.join(cells[len(dialect.header) :])


def _note_cell(note: Note, column: str, row: int, code: str, detail: str, value: str) -> None:
    note(row, code, detail, column, value)


def _needs_words(records: CsvRecords, kinds: Kinds, marks: Marks) -> bool:
    """Whether pyarrow cannot convert these columns, or might misread them.

    It takes 0xFF for -1 if the type is int8.
    """
    integers = any(kind.is_integer for kind in kinds.values())
    floats = [kind.dtype for kind in kinds.values() if kind.is_float]
    if integers and _has_hexadecimals(records.data):
        return True
    return "float16" in floats or bool(marks.thousands and (integers or floats))


def _has_hexadecimals(data: bytes) -> bool:
    """Whether there is 0x or 0X. `in` takes ten times as long for two bytes."""
    array = np.frombuffer(data, np.uint8)
    found = (array[1:] == ord("x")) | (array[1:] == ord("X"))
    found &= array[:-1] == ord("0")
    return bool(found.any())


def _as_types(records: CsvRecords, kinds: Kinds) -> tuple[Cells, dict[int, int]] | None:
    """Return what pyarrow makes of the cells, or None if it refuses one, or one is infinite.

    A float that is NaN is missing.
    """
    try:
        cells, wrong = records.cells({place: kind.value_type for place, kind in kinds.items()})
    except pa.ArrowInvalid:
        return None
    for place, kind in kinds.items():
        if kind.is_float and len(cells[place]):
            values = values_of(cells[place])
            if np.isfinite(values).all():
                continue
            if np.isinf(values).any():
                return None
            cells[place] = without(cells[place], np.isnan(values))
    return cells, wrong


def _note_invalid_utf8(records: CsvRecords, note: Note) -> None:
    if is_utf8(records.data):
        return
    for row in range(len(records)):
        try:
            records[row].decode()
        except UnicodeDecodeError:
            column, cell = _invalid_cell(records, row)
            expected = "expected UTF-8, or an --encoding such as latin-1"
            note(row, "invalid_encoding", expected, column, cell)


def _invalid_cell(records: CsvRecords, row: int) -> tuple[str, str]:
    """Return the column and the text of the first cell of a row that is not UTF-8."""
    dialect = records.dialect
    cells = split(records[row].decode("utf-8", "surrogateescape"), dialect.delimiter)
    place = next(place for place, cell in enumerate(cells) if not is_unicode(cell))
    column = dialect.header[place] if place < len(dialect.header) else ""
    shown = cells[place].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return column, shown


def _note_repeated_headers(records: CsvRecords, note: Note) -> None:
    """Files that were joined by `cat` have their headers between the rows.

    A row of a single cell may well be equal to the header.
    """
    header = records.dialect.header_line
    if len(records.dialect.header) < 2 or not len(records):
        return
    array = np.frombuffer(records.data, np.uint8)
    alike = records.stops - records.starts == len(header)
    alike &= array[records.starts] == header[0]
    alike &= array[records.stops - 1] == header[-1]
    for row in np.flatnonzero(alike).tolist():
        if records[row] == header:
            shown = header.decode("utf-8", "backslashreplace")
            note(row, "repeated_header", "the row repeats the header", "", shown)
