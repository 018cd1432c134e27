"""The features of CSV records: only their columns are parsed, each as the asked type."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from batchline.files.arrays import spread, values_of, without
from batchline.files.blocks import Note, Trouble
from batchline.files.csv_cells import Marks, convert
from batchline.files.csv_records import CsvRecords
from batchline.files.kinds import Kind
from batchline.files.utf8 import is_utf8

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
        note(row, "wrong_field_count", f"expected {columns} fields, got {fields}")
    if found:
        return cells
    names = records.dialect.header
    return {
        place: convert(cells[place], kind, marks, partial(_note_cell, note, names[place]))
        for place, kind in kinds.items()
    }


def _note_cell(note: Note, column: str, row: int, code: str, detail: str, value: str) -> None:
    note(row, code, detail, column, value)


def _needs_words(records: CsvRecords, kinds: Kinds, marks: Marks) -> bool:
    """Whether pyarrow cannot convert these columns, or might misread them.

    It takes 0xFF for -1 if the type is int8.
    """
    integers = any(kind.is_integer for kind in kinds.values())
    floats = [kind.dtype for kind in kinds.values() if kind.is_float]
    if integers and (b"0x" in records.data or b"0X" in records.data):
        return True
    return "float16" in floats or bool(marks.thousands and (integers or floats))


def _as_types(records: CsvRecords, kinds: Kinds) -> tuple[Cells, dict[int, int]] | None:
    """Return what pyarrow makes of the cells, or None if it refuses one, or one is not finite."""
    try:
        cells, wrong = records.cells({place: kind.value_type for place, kind in kinds.items()})
    except pa.ArrowInvalid:
        return None
    floats = [cells[place] for place, kind in kinds.items() if kind.is_float]
    finite = all(np.isfinite(values_of(array)).all() for array in floats if len(array))
    return (cells, wrong) if finite else None


def _note_invalid_utf8(records: CsvRecords, note: Note) -> None:
    if is_utf8(records.data):
        return
    for row in range(len(records)):
        try:
            records[row].decode()
        except UnicodeDecodeError as error:
            shown = records[row].decode("utf-8", "backslashreplace")
            column = _column_of(records, row)
            detail = f"byte {error.object[error.start]:#04x} is not UTF-8. If the file has another "
            note(row, "invalid_encoding", detail + "encoding, add --encoding", column, shown)


def _column_of(records: CsvRecords, row: int) -> str:
    """Return the first column of a row that is not UTF-8."""
    only = np.arange(len(records)) == row
    header = records.dialect.header
    cells, _ = records.select(only).cells(dict.fromkeys(range(len(header)), pa.binary()))
    values = ((name, cell[0].as_py()) for name, cell in zip(header, cells.values(), strict=True))
    return next((name for name, value in values if value and not is_utf8(value)), "")


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
