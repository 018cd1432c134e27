"""CSV rows as they are read: types from the caller, and errors that harm no other row."""

import random
from pathlib import Path

import pytest

from batchline.constants import FILE_BLOCK_ROWS
from batchline.file_errors import FileUnreadable, InvalidColumns, NoFileFound
from batchline.files import Kind, ReadOptions, open_source
from batchline.files.text_parts import TextPart
from tests.files.reading import BOOLEAN, FLOAT, INTEGER, TEXT, file, read, read_features

# Cells ------------------------------------------------------------------------------------------


def test_a_column_that_is_no_feature_is_text_and_stays_as_it_came(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", 'id,n,x\n"007",1.0,1\n 7,1e5,2\n'), x=FLOAT)
    assert found.values == {"x": [1.0, 2.0]}
    assert found.kept == {"id": ["007", " 7"], "n": ["1.0", "1e5"], "x": ["1", "2"]}


def test_a_text_feature_is_never_taken_for_a_number(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "user,x\n1225.10,1\n007,2\n"), user=TEXT)
    assert found.values == {"user": ["1225.10", "007"]}


def test_a_value_far_behind_the_first_block_has_the_type_that_was_asked_for(tmp_path: Path) -> None:
    text = "n,s\n" + "1,\n" * 1_200_000 + "2.5,late\n"
    found = read(file(tmp_path, "a.csv", text), n=FLOAT, s=TEXT)
    assert found.values["n"][-1] == 2.5
    assert found.values["s"][-2:] == [None, "late"]
    assert not found.errors


def test_an_empty_cell_is_missing_and_a_quoted_one_is_empty_text(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", 's,x\n"",1\n,""\n')
    assert read(path, s=TEXT, x=FLOAT).values == {"s": ["", None], "x": [1.0, None]}


def test_a_word_for_missing_numbers_is_text_in_a_text_column(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "cc,x\nNA,NA\nNULL,null\n")
    assert read(path, cc=TEXT, x=FLOAT).values == {"cc": ["NA", "NULL"], "x": [None, None]}


def test_words_that_the_user_names_mean_missing_unless_they_are_quoted(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", 'cc,x\n-,-\n"-",1\n')
    found = read(path, options=ReadOptions(nulls=("-",)), cc=TEXT, x=FLOAT)
    assert found.values == {"cc": [None, "-"], "x": [None, 1.0]}
    assert found.kept["cc"] == ["-", "-"]


def test_a_missing_integer_is_missing_and_no_number(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "age,b\n34,1\n,\n51,false\n"), age=INTEGER, b=BOOLEAN)
    assert found.values == {"age": [34, None, 51], "b": [True, None, False]}


def test_an_integral_number_is_an_integer_in_any_notation(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "n,i\n5,1\n1E+05,1\n34.0,1\n1.5,1\n6,1\n"), n=INTEGER)
    assert found.values == {"n": [5, 100_000, 34, None, 6]}
    assert found.places == [(5, "not_an_integer", "n")]


@pytest.mark.parametrize(
    ("dtype", "least", "most"),
    [
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int64", -(2**63), 2**63 - 1),
        ("uint64", 0, 2**64 - 1),
    ],
)
def test_an_integer_out_of_range_is_an_error_of_its_row(
    tmp_path: Path, dtype: str, least: int, most: int
) -> None:
    numbers = [least - 1, least, 1, most, most + 1]
    path = file(tmp_path, "a.csv", "id,n\n" + "".join(f"{n},{n}\n" for n in numbers))
    found = read(path, n=Kind(dtype))
    assert found.values["n"] == [None, least, 1, most, None]
    assert found.places == [(2, "out_of_range", "n"), (6, "out_of_range", "n")]


def test_a_hexadecimal_cell_is_no_integer(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "n,t\n1,0x1\n0xFF,a\n"), n=Kind("int8"), t=TEXT)
    assert found.values == {"n": [1, None], "t": ["0x1", None]}
    assert found.places == [(3, "not_a_number", "n")]


def test_an_integer_beyond_every_type_is_kept_as_it_came(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "id,x\n18446744073709551616,1\n"), x=FLOAT)
    assert found.kept["id"] == ["18446744073709551616"]


@pytest.mark.parametrize("others", ["1", "oops"], ids=["valid", "invalid"])
@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "NAN", "nan(0x1)", " NaN", '"NaN"'])
def test_nan_is_a_missing_number_and_a_text_like_others(
    tmp_path: Path, text: str, others: str
) -> None:
    path = file(tmp_path, "a.csv", f"x,n,t\n1,1,a\n{text},{text},NaN\n{others},1,b\n")
    found = read(path, x=FLOAT, n=INTEGER, t=TEXT)
    last = 1.0 if others == "1" else None
    assert found.values["x"] == [1.0, None, last]
    assert found.values["n"][:2] == [1, None]
    assert found.values["t"][1] == "NaN"
    assert [line for line, *_ in found.places] == ([] if others == "1" else [4])


@pytest.mark.parametrize("text", ["inf", "-Infinity"])
def test_a_number_that_is_not_finite_is_an_error_of_its_row(tmp_path: Path, text: str) -> None:
    found = read(file(tmp_path, "a.csv", f"x,y\n1,1\n{text},1\n3,1\n"), x=FLOAT)
    assert found.values == {"x": [1.0, None, 3.0]}
    assert found.places == [(3, "not_finite", "x")]


def test_a_number_too_large_for_its_type_is_an_error_of_its_row(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "x,y\n1e39,1e39\n1,1\n")
    found = read(path, x=FLOAT, y=Kind("float64"))
    assert found.values == {"x": [None, 1.0], "y": [None, 1.0]}
    assert found.places == [(2, "out_of_range", "x")]


def test_decimal_commas_and_thousands_marks(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "a;b\n1.299,50;2\n-0,5;1.000.000\n1.29,5;3\n")
    options = ReadOptions(delimiter=";", decimal=",", thousands=".")
    found = read(path, options=options, a=Kind("float64"), b=INTEGER)
    assert found.values == {"a": [1299.5, -0.5, None], "b": [2, 1_000_000, None]}
    assert found.places == [(4, "not_a_number", "a")]


def test_the_error_of_a_decimal_comma_names_the_decimal_mark_and_no_option(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", 'a,b\n"1,5",2\n'), a=FLOAT)
    said = str(found.errors[0])
    assert said.endswith("column 'a': expected a number with the decimal mark '.', got '1,5'")


@pytest.mark.parametrize(("mark", "typed"), [(";", ";"), ("\t", "\\t")])
def test_the_hint_for_another_delimiter_names_the_option(
    tmp_path: Path, mark: str, typed: str
) -> None:
    with pytest.raises(InvalidColumns) as found:
        read(file(tmp_path, "a.csv", f"a{mark}b\n1{mark}2\n"), a=FLOAT, b=FLOAT)
    assert [fault.code for fault in found.value.faults] == ["missing_column"]
    only = f"a{mark}b"
    assert f"the columns 'a', 'b' are missing. The only column is {only!r}" in str(found.value)
    assert found.value.hint == f"add --delimiter '{typed}'"


@pytest.mark.parametrize("header", ["5.1,3.5", "7,1", "-1,x"])
def test_a_first_line_of_values_is_not_taken_for_a_header(tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidColumns, match="first line looks like a row") as found:
        read(file(tmp_path, "a.csv", f"{header}\n1,2\n"), a=FLOAT, b=FLOAT)
    assert len(str(found.value).splitlines()) == 1
    assert found.value.hint == "write a first line with the names of the columns into the file"


def test_numbers_may_be_names_of_other_columns(tmp_path: Path) -> None:
    with pytest.raises(InvalidColumns, match="is missing") as found:
        read(file(tmp_path, "a.csv", "a,2019\n1,2\n"), a=FLOAT, b=FLOAT)
    assert "looks like a row" not in str(found.value)
    assert found.value.hint == "add 'b', or choose other columns with --columns"


def test_files_that_do_not_exist_or_are_empty_have_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "no/a.csv"
    with pytest.raises(NoFileFound) as found:
        read(path, a=FLOAT)
    assert found.value.hint == f"correct the path: `ls {tmp_path}` lists what is there"
    with pytest.raises(NoFileFound) as found:
        read(tmp_path / "zz*.csv", a=FLOAT)
    assert found.value.hint.startswith("correct the path or the pattern")
    with pytest.raises(FileUnreadable) as empty:
        read(file(tmp_path, "a.csv", ""), a=FLOAT)
    assert empty.value.hint.startswith("leave the file out, or write a first line with the names")


def test_quotes_inside_a_bare_cell_are_text(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", 't,x\n5" pipe,1\n"well, no",2\na "b" c,3\n'), t=TEXT)
    assert found.values == {"t": ['5" pipe', "well, no", 'a "b" c']}


# Rows -------------------------------------------------------------------------------------------


def test_a_line_break_in_quotes_is_allowed_however_large_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "n,t\n" + '1,"two\r\nlines"\n' * 200_000)
    found = read(path, n=INTEGER, t=TEXT)
    assert found.values["t"] == ["two\r\nlines"] * 200_000
    assert found.lines[-1] == 400_000


def test_a_row_longer_than_a_block_is_a_row_like_others(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", f"t,x\n{'a' * 5_000_000},1\nb,2\n")
    found = read(path, t=TEXT, x=FLOAT)
    assert [len(text) for text in found.values["t"]] == [5_000_000, 1]


def test_a_row_beyond_the_limit_is_an_error_of_that_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.pieces.RECORD_MAX_BYTES", 3_000_000)
    path = file(tmp_path, "a.csv", f"t,x\na,0\n{'a' * 9_000_000},1\nb,2\n")
    found = read(path, x=FLOAT)
    assert found.values["x"] == [0.0, None, 2.0]
    assert found.places == [(3, "record_too_large", "")]
    assert found.lines == [2, 3, 4]


def test_a_row_with_too_few_or_too_many_fields_is_an_error_of_that_row(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "a,b\n1,2\n3\n5,6\n7,8,9\n"), a=FLOAT)
    assert found.values == {"a": [1.0, None, 5.0, None]}
    assert found.places == [(3, "wrong_field_count", ""), (5, "wrong_field_count", "")]
    assert [error.row for error in found.errors] == [2, 4]


def test_errors_name_the_physical_line_behind_blank_lines_and_long_cells(tmp_path: Path) -> None:
    text = 'a,b\n\n1,"x\n\ny"\n\nbad,2\n3\n'
    found = read(file(tmp_path, "a.csv", text), a=FLOAT)
    assert found.places == [(7, "not_a_number", "a"), (8, "wrong_field_count", "")]
    assert [error.row for error in found.errors] == [2, 3]
    assert found.source.blank_lines == 2
    place = f"{tmp_path}/a.csv, line 7, column 'a'"
    assert str(found.errors[0]) == f"{place}: expected a number, got 'bad'"


def test_a_blank_line_is_no_row_in_a_file_with_one_column_either(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", 's\nx\n\ny\n""\n'), s=TEXT)
    assert found.values == {"s": ["x", "y", ""]}
    assert found.source.blank_lines == 1


def test_a_header_between_the_rows_is_an_error_of_that_row(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", "a,b\n1,2\na,b\n3,4\n"), a=FLOAT)
    assert found.values == {"a": [1.0, None, 3.0]}
    assert found.places == [(3, "repeated_header", "")]


def test_a_byte_that_is_no_utf8_is_an_error_of_its_row_and_column(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", b"x,n\n1,Andr\xe9\n2,ok\n"), x=FLOAT)
    assert found.values == {"x": [None, 2.0]}
    assert found.places == [(2, "invalid_encoding", "n")]
    assert "--encoding" in found.errors[0].detail


def test_a_quote_that_is_never_closed_costs_only_its_line(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", 'a,b\n1,2\n"5 inch,3\n4,5\n6,7'), b=FLOAT)
    assert found.values == {"b": [2.0, None, 5.0, 7.0]}
    assert found.places == [(3, "unclosed_quote", "")]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "one"])
def test_the_last_line_may_have_no_line_break(tmp_path: Path, newline: str, end: str) -> None:
    text = newline.join(["a,b", "1,2", "3,4"]) + (newline if end else "")
    found = read(file(tmp_path, "a.csv", text.encode()), a=FLOAT, b=TEXT)
    assert found.values == {"a": [1.0, 3.0], "b": ["2", "4"]}
    assert found.lines == [2, 3]


def test_a_row_has_the_same_values_alone_and_next_to_rows_with_errors(tmp_path: Path) -> None:
    cells = [" 1 ", "+1.5", "0x1F", "0XFF", ".5", "5.", "1e5", "007", "-0", "", "16777217", "\t2"]
    kinds = {"x": FLOAT, "n": Kind("int64"), "b": BOOLEAN, "t": TEXT}
    for cell in cells:
        row = f"{cell},{cell},1,{cell}\n"
        alone = read_features([str(file(tmp_path, "a.csv", "x,n,b,t\n" + row))], kinds)
        beside = read_features(
            [str(file(tmp_path, "b.csv", "x,n,b,t\n" + row + "a,b,c,d\n"))], kinds
        )
        assert [value[0] for value in beside.values.values()] == [
            value[0] for value in alone.values.values()
        ], cell


def test_many_bad_rows_are_found_one_by_one(tmp_path: Path) -> None:
    chance = random.Random(1)
    cells = [chance.choice(["1", "x", "1,2", ""]) for _ in range(100_000)]
    found = read(file(tmp_path, "a.csv", "a,b\n" + "".join(f"{c},1\n" for c in cells)), a=FLOAT)
    bad = [row for row, cell in enumerate(cells, 2) if cell in ("x", "1,2")]
    assert [error.line for error in found.errors] == bad
    assert found.values["a"] == [1.0 if cell == "1" else None for cell in cells]


# Files ------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.csv", b"\xef\xbb\xbfid,x\n1,2\n"), x=FLOAT)
    assert found.kept == {"id": ["1"], "x": ["2"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named_and_read_with_its_encoding(tmp_path: Path, encoding: str) -> None:
    path = file(tmp_path, "a.csv", "id,x\né,2\n".encode(encoding))
    with pytest.raises(FileUnreadable, match="is UTF-16") as caught:
        read(path, x=FLOAT)
    assert "--encoding utf-16" in caught.value.hint
    assert read(path, options=ReadOptions(encoding=encoding), x=FLOAT).kept["id"] == ["é"]


def test_another_encoding_is_read_if_the_user_names_it(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", b"n,x\nAndr\xe9,1\n\x81,2\n")
    found = read(path, options=ReadOptions(encoding="cp1252"), x=FLOAT)
    assert found.kept["n"][0] == "André"
    assert found.places == [(3, "invalid_encoding", "n")]


def test_a_file_with_nothing_but_its_header_has_no_rows(tmp_path: Path) -> None:
    for text in ("a,b", "a,b\n", "\n\na,b\r\n"):
        found = read(file(tmp_path, "a.csv", text), a=FLOAT)
        assert (found.values, found.source.rows) == ({"a": []}, 0)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_a_file_without_a_header_is_called_empty(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileUnreadable, match=r"a\.csv is empty"):
        read(file(tmp_path, "a.csv", text), a=FLOAT)


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    one, two = file(tmp_path, "1.csv", "x,y\n1,2\n"), file(tmp_path, "2.csv", "y,x\n4,3\n")
    assert read(one, two, y=FLOAT, x=FLOAT).values == {"y": [2.0, 4.0], "x": [1.0, 3.0]}


def test_a_number_and_an_empty_text_are_names(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "2,0,\n1,2,3\n")
    assert read_features([str(path)], {"0": FLOAT, "": FLOAT}).values == {"0": [2.0], "": [3.0]}


def test_a_name_that_two_columns_have_is_rejected_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(InvalidColumns, match=r"columns 1 and 3 are both named 'a'"):
        read(file(tmp_path, "a.csv", "a,b,a\n1,2,3\n"), b=FLOAT)


def test_columns_without_a_name_are_kept_if_the_headers_of_all_files_are_equal(
    tmp_path: Path,
) -> None:
    one, same = (file(tmp_path, name, ",x,\n1,2,3\n") for name in ("1.csv", "2.csv"))
    with open_source([str(one), str(same)]) as source:
        assert source.check({"x": FLOAT}).names == ["", "x", ""]
    other = file(tmp_path, "3.csv", "x,,,\n1,2,3,4\n")
    for paths, keep in (([one, other], None), ([one], [""])):
        with open_source([str(path) for path in paths]) as source:
            with pytest.raises(InvalidColumns) as caught:
                source.check({"x": FLOAT}, keep)
            assert source.check({"x": FLOAT}, ["x"]).names == ["x"]
        assert "1.csv: the columns 1 and 3 are both named ''" in str(caught.value)
        assert "--keep NAME,NAME" in caught.value.hint
        is_named = "3.csv: the columns 2, 3 and 4 are all named ''" in str(caught.value)
        assert is_named == (other in paths)


def test_problems_with_columns_of_all_files_are_reported_together(tmp_path: Path) -> None:
    one, two = file(tmp_path, "1.csv", "a,b\n"), file(tmp_path, "2.csv", "a,c\n")
    with pytest.raises(InvalidColumns) as caught:
        read(one, two, b=FLOAT, d=FLOAT)
    said = [line.partition(".csv: ")[2] for line in str(caught.value).splitlines()]
    assert said == [
        "the column 'd' is missing. The columns are 'a', 'b'",
        "the columns 'b', 'd' are missing. The columns are 'a', 'c'",
        "the column 'c' is missing and cannot be kept. The columns are 'a', 'b'",
    ]


def test_a_feature_that_may_be_absent_is_missing_in_each_row(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "x\n1\n2\n")
    assert read(path, z=Kind("int64", optional=True)).values == {"z": [None, None]}


def test_ten_thousand_columns(tmp_path: Path) -> None:
    names = [f"c{place}" for place in range(10_000)]
    lines = [",".join(names), ",".join(["1.5"] * 10_000), ",".join(["2.5"] * 9_999)]
    found = read(file(tmp_path, "a.csv", "\n".join(lines)), c0=FLOAT, c9999=FLOAT)
    assert found.values == {"c0": [1.5, None], "c9999": [1.5, None]}
    assert found.places == [(3, "wrong_field_count", "")]


@pytest.mark.parametrize(("rows", "least"), [(10_000, 2), (100_000, 15), (3_000_000, 2)])
def test_even_a_small_file_has_parts_for_several_threads(
    tmp_path: Path, rows: int, least: int
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "123456789\n" * rows)
    with open_source([str(path)]) as source:
        sizes = [part.stop - part.start for part in source.parts()]
    assert sum(sizes) == 10 * rows
    assert len(sizes) >= least
    assert max(sizes) <= 2 * 1024 * 1024


def test_a_block_of_short_rows_has_a_bounded_number_of_them(tmp_path: Path) -> None:
    count = 2 * FILE_BLOCK_ROWS + 1
    source = file(tmp_path, "a.csv", b"a\n\n" + b"1\n" * (count - 1) + b"7")
    with open_source([str(source)]) as found:
        parts = [part for part in found.parts() if isinstance(part, TextPart)]
        last = next(parts[-1].blocks({"a": FLOAT}))
    assert max(part.rows for part in parts) <= FILE_BLOCK_ROWS
    assert sum(part.rows for part in parts) == found.rows == count
    assert parts[-1].first_row + parts[-1].rows == count + 1
    assert last.features["a"][-1].as_py() == 7
    assert last.lines is not None
    assert last.lines[-1] == count + 2
    assert parts[-1].stop == source.stat().st_size
