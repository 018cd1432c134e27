"""CSV as it is written: the cells that came in, and new columns behind them."""

import csv
import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from batchline.file_errors import InvalidColumns
from batchline.files import ReadOptions, WriteOptions
from batchline.files.csv_writer import CsvWriter
from batchline.files.table_rows import TableRows
from tests.files.reading import FLOAT, file
from tests.files.writing import LABEL, copy


def written(array: pa.Array, delimiter: str = ",", decimal: str = ".") -> list[str]:
    """Return the lines of a column that stands between two others."""
    side = pa.array(["a"] * len(array))
    kept, new = pa.schema([("k", pa.string())]), pa.schema([("x", array.type), ("z", pa.string())])
    writer, stream = CsvWriter(kept, new, delimiter, decimal, "\n"), io.BytesIO()
    writer.begin(stream)
    rows = TableRows(pa.RecordBatch.from_arrays([side], schema=kept))
    writer.write(writer.encode(rows, pa.RecordBatch.from_arrays([array, side], schema=new)))
    lines = stream.getvalue().decode().splitlines(keepends=True)[1:]
    return [line.removeprefix(f"a{delimiter}").removesuffix(f"{delimiter}a\n") for line in lines]


# Kept cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_records_keep_their_bytes_and_get_new_cells(tmp_path: Path, newline: str) -> None:
    rows = ['"007",1.0', "1e5, 7", '"a ""b""\r\nc",', '"",10000000005.1', "NA,é"]
    path = file(tmp_path, "a.csv", newline.join(["id,name", *rows]))
    assert copy(path, tmp_path / "b.csv") == 5
    lines = ["id,name,label", *(f"{row},new" for row in rows)]
    assert (tmp_path / "b.csv").read_bytes().decode() == newline.join(lines) + newline


@pytest.mark.parametrize(
    ("delimiter", "decimal", "newline", "between"),
    [
        (",", ".", "\n", "\n"),
        (",", ".", "\r\n", "\r\n"),
        (";", ",", "\n", "\n"),
        ("\t", ".", "\n", "\n"),
        (",", ".", "\n", "\n\n"),
        (",", ".", "\n", "\r\n"),
        (",", ".", "\r\n", "\n\n"),
    ],
)
def test_floats_of_several_columns_are_behind_their_own_row(
    tmp_path: Path, delimiter: str, decimal: str, newline: str, between: str
) -> None:
    numbers = [0.25, 1.0, 3.5e-05, 0.1, -7.125, 1e30]
    rows = [f'{place}{delimiter}"x\r\ny"' for place in range(3)]
    text = f"a{delimiter}b{newline}" + between.join(rows) + newline
    fields = [("label", pa.string()), ("p", pa.float32()), ("q", pa.float32())]
    new = pa.schema([*fields, ("error", pa.string())])
    values = {"label": ["é", "n", "é"], "p": numbers[:3], "q": numbers[3:], "error": [None] * 3}
    read = ReadOptions(delimiter=delimiter, decimal=decimal)
    copy(file(tmp_path, "a.csv", text), tmp_path / "b.csv", new, values, read=read)
    shown = [["0.25", "1.0", "0.000035"], ["0.1", "-7.125", "1e+30"]]
    lines = [delimiter.join(["a", "b", *new.names])]
    for row, label, p, q in zip(rows, values["label"], *shown, strict=True):
        floats = [p.replace(".", decimal), q.replace(".", decimal)]
        lines.append(delimiter.join([row, label, *floats, ""]))
    assert (tmp_path / "b.csv").read_bytes().decode() == "".join(each + newline for each in lines)


@pytest.mark.parametrize("error", [None, "bad"])
@pytest.mark.parametrize(("delimiter", "decimal"), [(",", ","), (".", "."), ("-", "."), ("+", ",")])
def test_a_number_with_the_delimiter_in_it_has_quotes(
    tmp_path: Path, delimiter: str, decimal: str, error: str | None
) -> None:
    fields = [("n", pa.int64()), ("p", pa.float32()), ("q", pa.float32()), ("error", pa.string())]
    values = {"n": [-7, 8], "p": [-0.25, 1e30], "q": [1.5, -1e-12], "error": [None, error]}
    read = ReadOptions(delimiter=delimiter, decimal=decimal)
    source = file(tmp_path, "a.csv", f"a{delimiter}b\n1{delimiter}2\n3{delimiter}4\n")
    copy(source, tmp_path / "b.csv", pa.schema(fields), values, read=read)
    with (tmp_path / "b.csv").open(newline="") as text:
        _, *rows = csv.reader(text, delimiter=delimiter)
    numbers = [["-7", "-0.25", "1.5"], ["8", "1e+30", "-1e-12"]]
    shown = [[each.replace(".", decimal) for each in row] for row in numbers]
    assert rows == [["1", "2", *shown[0], ""], ["3", "4", *shown[1], error or ""]]


def test_only_a_header_comes_of_only_a_header(tmp_path: Path) -> None:
    assert copy(file(tmp_path, "a.csv", "a,b\r\n"), tmp_path / "b.csv") == 0
    assert (tmp_path / "b.csv").read_bytes() == b"a,b,label\r\n"


def test_rows_with_errors_can_be_left_out(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "a,b\n1,2\nx,3\n4\n5,6\n")
    assert copy(path, tmp_path / "b.csv", features={"a": FLOAT}) == 2
    assert (tmp_path / "b.csv").read_text() == "a,b,label\n1,2,new\n5,6,new\n"


def test_the_delimiter_of_the_input_stays_and_another_can_be_chosen(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", 'a;b\n1,5;"x;y"\n;""\n')
    read = ReadOptions(delimiter=";")
    copy(path, tmp_path / "b.csv", read=read)
    assert (tmp_path / "b.csv").read_text() == 'a;b;label\n1,5;"x;y";new\n;"";new\n'
    copy(path, tmp_path / "c.csv", read=read, write=WriteOptions(delimiter=","))
    assert (tmp_path / "c.csv").read_text() == 'a,b,label\n"1,5",x;y,new\n,"",new\n'


def test_chosen_columns_are_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", 'a,b,c\n1.0,,"x, y"\n"007","",NA\n')
    copy(path, tmp_path / "b.csv", keep=["c", "b"])
    assert (tmp_path / "b.csv").read_text() == 'c,b,label\n"x, y",,new\nNA,"",new\n'


def test_files_with_other_orders_of_columns_become_one(tmp_path: Path) -> None:
    file(tmp_path, "1.csv", "a,b\n1,2\n")
    file(tmp_path, "2.csv", "b,a\n4,3\n")
    assert copy(f"{tmp_path}/*.csv", tmp_path / "out.csv") == 2
    assert (tmp_path / "out.csv").read_text() == "a,b,label\n1,2,new\n3,4,new\n"


def test_columns_without_names_stay(tmp_path: Path) -> None:
    copy(file(tmp_path, "a.csv", ",a,\n0,1,2\n"), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == ",a,,label\n0,1,2,new\n"
    copy(tmp_path / "b.csv", tmp_path / "c.tsv", pa.schema([("x", pa.string())]))
    assert (tmp_path / "c.tsv").read_text() == "\ta\t\tlabel\tx\n0\t1\t2\tnew\tnew\n"


def test_a_new_column_with_the_name_of_a_kept_one_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidColumns, match="two columns would be named 'label'"):
        copy(file(tmp_path, "a.csv", "label\nx\n"), tmp_path / "b.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


# New cells --------------------------------------------------------------------------------------


def test_null_is_an_empty_cell_and_an_empty_text_has_quotes() -> None:
    assert written(pa.array(["a", None, ""])) == ["a", "", '""']
    assert written(pa.array([Decimal("1.50"), None])) == ["1.50", ""]
    assert written(pa.array([1, None])) == ["1", ""]
    assert written(pa.array([0.5, None])) == ["0.5", ""]


def test_quotes_are_only_where_they_are_needed() -> None:
    texts = pa.array(["plain", "two words", "a,b", 'a "b"', "a\nb", "a;b", " a", "é"])
    assert written(texts.take(pa.array([0, 1, 5, 6, 7]))) == [
        "plain",
        "two words",
        "a;b",
        " a",
        "é",
    ]
    assert written(texts.take(pa.array([2, 3]))) == ['"a,b"', '"a ""b"""']
    assert written(texts.take(pa.array([2, 5])), ";") == ["a,b", '"a;b"']


def test_a_null_in_a_file_with_one_column_is_no_blank_line(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "a\nx\n")
    copy(path, tmp_path / "b.csv", LABEL, {"label": [None]}, keep=[])
    assert (tmp_path / "b.csv").read_text() == 'label\n""\n'


@given(st.lists(st.floats(width=32) | st.sampled_from([1.0, -0.0, 1e10, 16777216.0]), min_size=1))
def test_a_float_is_the_shortest_text_that_reads_back_equal(numbers: list[float]) -> None:
    for type_ in (pa.float32(), pa.float64()):
        array = pa.array(numbers, type_)
        back = pa.array(written(array)).cast(type_)
        assert back.equals(array) or str(back) == str(array)  # NaN is not equal to itself
    assert written(pa.array([1.0, 0.1, -0.0, 3e-5], pa.float32())) == [
        "1.0",
        "0.1",
        "-0.0",
        "0.00003",
    ]


def test_a_float_has_the_same_text_whatever_its_neighbours_are() -> None:
    texts = ["0.0000015", "2.5e+10", "9999999999.0", "1e-7", "0.5", "", "nan", "-3.0", "1e+20"]
    numbers = [1.5e-6, 2.5e10, 9999999999.0, 1e-7, 0.5, None, float("nan"), -3.0, 1e20]
    assert written(pa.array(numbers)) == texts
    assert [written(pa.array([number], pa.float64()))[0] for number in numbers[:5]] == texts[:5]
    assert written(pa.array([2.5e10, 0.5, None], pa.float32())) == ["2.5e+10", "0.5", ""]


def test_a_float_has_the_decimal_mark_of_the_file() -> None:
    assert written(pa.array([1.5, 2.0]), ";", ",") == ["1,5", "2,0"]
    assert written(pa.array([1.5]), ",", ",") == ['"1,5"']


def test_lists_are_json() -> None:
    assert written(pa.array([[0.5, None], [], None])) == ['"[0.5,null]"', "[]", ""]
    assert written(pa.array([["a", 'b"']])) == ['"[""a"",""b\\""""]"']
    assert written(pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))) == ['"[1.0,2.0]"']


def test_times_have_all_their_digits_and_their_offset() -> None:
    nanoseconds = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "Europe/Berlin"))
    assert written(nanoseconds) == ["2023-11-14 23:13:20.123456789+0100"]
    assert written(pa.array([datetime(1677, 9, 22)], pa.timestamp("us")))[0].startswith(
        "1677-09-22"
    )
    assert written(pa.array([date(2024, 1, 2)])) == ["2024-01-02"]
    assert written(pa.array([time(1, 2, 3)])) == ["01:02:03.000000"]
    assert ZoneInfo("UTC").utcoffset(datetime.now(UTC)) is not None


def test_categories_are_their_texts() -> None:
    assert written(pa.array(["a", "b,", None, "a"]).dictionary_encode()) == ["a", '"b,"', "", "a"]


def test_a_column_that_csv_cannot_hold_is_found_before_the_first_row(tmp_path: Path) -> None:
    table = pa.table({"a": [1], "raw": [b"\xff"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InvalidColumns, match="csv cannot hold the column 'raw' of type binary"):
        copy(tmp_path / "a.parquet", tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()
    assert copy(tmp_path / "a.parquet", tmp_path / "b.csv", keep=["a"]) == 1


@given(
    st.lists(st.lists(st.none() | st.text("ab,;\"'\n\r \té"), min_size=2, max_size=2), min_size=1)
)
def test_a_reader_of_the_standard_library_finds_the_same_cells(
    rows: list[list[str | None]],
) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in (0, 1)]
    writer, stream = CsvWriter(pa.schema([]), schema, ",", ".", "\n"), io.BytesIO()
    nothing = TableRows(pa.RecordBatch.from_pylist([{}] * len(rows), schema=pa.schema([])))
    writer.begin(stream)
    writer.write(writer.encode(nothing, pa.RecordBatch.from_arrays(columns, schema=schema)))
    found = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))[1:]
    assert found == [[cell or "" for cell in row] for row in rows]
