"""Where records end: pyarrow and this package agree, however the quotes stand."""

import csv as standard
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv

from batchline.files.byte_rows import ByteRows
from batchline.files.records import count_lines, record_ends

texts = st.text('a,"\n\r', max_size=40)


def records_of(data: bytes) -> list[bytes]:
    """Return the records of data that ends with a line break."""
    ends = record_ends(data + b" ", ",")  # which shows that no LF follows a CR
    rows = ByteRows.cut(data, ends)
    return [rows[row] for row in range(len(rows))]


def fields_of_pyarrow(data: bytes) -> list[int]:
    """Return the number of fields of each record, as pyarrow counts them."""
    found: list[int] = []

    def note(row: csv.InvalidRow) -> str:
        found.append(row.actual_columns)
        return "skip"

    names = [str(place) for place in range(100)]  # more than any record has
    csv.read_csv(
        pa.BufferReader(data),
        csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
    )
    return found


@given(texts)
@example('a,"b\nc"\n5" pipe\n"x\ny"\n')
@example('"a"b\n"c\nd"\n')
@example('a\r"b\rc"\r')
@example('""\n"""\n"\n')
def test_pyarrow_finds_the_same_number_of_records(text: str) -> None:
    data = text.encode() + b"\n"
    ends = record_ends(data, ",")
    whole = data[: int(ends[-1])] if len(ends) else b""
    if not whole.strip(b"\r\n"):
        return
    assert len(fields_of_pyarrow(whole)) == len(records_of(whole))


@given(st.lists(st.lists(st.text('a,"\n\r '), min_size=1, max_size=3), max_size=5))
def test_the_records_of_a_well_formed_file_are_its_rows(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    standard.writer(text, quoting=standard.QUOTE_ALL, lineterminator="\n").writerows(rows)
    found = [next(_parsed(record)) for record in records_of(text.getvalue().encode())]
    assert found == rows


def _parsed(record: bytes) -> Iterator[list[str]]:
    return standard.reader(io.StringIO(record.decode(), newline=""))


@given(texts, st.integers(0, 40))
def test_records_that_are_whole_stay_whole_when_more_is_read(text: str, size: int) -> None:
    data = text.encode() + b"\n"
    before = record_ends(data[:size], ",").tolist()
    after = record_ends(data, ",").tolist()
    assert after[: len(before)] == before


@given(texts)
def test_lines_are_counted_as_editors_count_them(text: str) -> None:
    data = text.encode() + b"\n"
    assert (
        count_lines(data)
        == len(data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
    )


def test_many_quotes_take_no_more_than_a_moment() -> None:
    data = b'a " b,"x\ny"\n' * 200_000
    assert len(record_ends(data, ",")) == 200_000
    assert np.all(np.diff(record_ends(data, ",")) == 12)
