"""JSON Lines as they are read and written."""

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest

from batchline.file_errors import InvalidColumns
from batchline.files import Kind, ReadOptions
from tests.files.reading import BOOLEAN, FLOAT, INTEGER, TEXT, file, read, read_features
from tests.files.writing import copy

# Reading ----------------------------------------------------------------------------------------


def test_strings_stay_strings(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.jsonl", '{"id":"2024-01-02","n":"01","x":1}\n'), x=FLOAT, n=TEXT)
    assert found.kept == {"id": ["2024-01-02"], "n": ["01"], "x": ["1"]}
    assert found.values == {"x": [1.0], "n": ["01"]}


def test_a_missing_key_is_a_missing_value_and_a_wrong_type_an_error_of_its_row(
    tmp_path: Path,
) -> None:
    text = '{"a":1}\n{"a":"x"}\n{"b":2}\n{"a":\n{"a":null}\n{"a":true}\n{"a":5,"b":"x"}\n'
    found = read(file(tmp_path, "a.jsonl", text), a=FLOAT)
    assert found.values == {"a": [1.0, None, None, None, None, None, 5.0]}
    assert found.places == [
        (2, "not_a_number", "a"),
        (4, "invalid_json", ""),
        (6, "not_a_number", "a"),
    ]
    assert "at character 6" in found.errors[1].detail


def test_a_number_in_quotes_is_an_error_that_says_so(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.jsonl", '{"a":"59"}\n{"a":"old"}\n'), a=FLOAT)
    details = [each.detail for each in found.errors]
    assert details == ["expected a number without quotes", "expected a number"]


@pytest.mark.parametrize(
    "line",
    ["null", "[1,2]", '"x"', "5", '{"a":1}{"a":2}', '{"a":1} null', '{"z":Infinity}',
     '{"a":NaN,"z":-Infinity}',
     '{"a":1,}', "{", '{"a":01}', "[" * 100_000, '{"t":"\\x"}', '{"a":1}null{"a":2}',
     f'{{"a":1,"z":{"[" * 200}{"]" * 200}}}'],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_that_is_not_one_object_is_an_error_of_its_row(
    tmp_path: Path, line: str, place: int
) -> None:
    lines = ['{"a":7}', '{"a":8}']
    lines.insert(place, line)
    found = read(file(tmp_path, "a.jsonl", "\n".join(lines)), a=FLOAT)
    assert found.places == [(place + 1, "invalid_json", "")]
    assert [value for value in found.values["a"] if value is not None] == [7.0, 8.0]


@pytest.mark.parametrize("member", [("[", "]"), ('{"a":', "}"), ('["[",', "]")])
@pytest.mark.parametrize("beside", ['{"a":3}', "torn", '{"a":NaN}'])
@pytest.mark.parametrize("target", ["b.jsonl", "b.csv"])
def test_a_line_has_at_most_200_levels_whatever_is_beside_it_and_whatever_is_written(
    tmp_path: Path, member: tuple[str, str], beside: str, target: str
) -> None:
    deep, deeper = (f'{{"a":1,"z":{member[0] * n}5{member[1] * n}}}' for n in (199, 20_000))
    wide = f'{{"a":2,"z":[{"[[]]," * 300}"{"[" * 300}\\""]}}'
    path = file(tmp_path, "a.jsonl", "\n".join([deep, wide, deeper, beside]))
    found = read(path, a=FLOAT)
    assert found.places[0] == (3, "invalid_json", "")
    assert found.errors[0].detail == "the line is nested more than 200 levels deep"
    assert found.values["a"][:3] == [1.0, 2.0, None]
    copy(path, tmp_path / target, features={"a": FLOAT})
    copy(path, tmp_path / target, features={"a": FLOAT}, keep=["z"])


def test_nan_is_a_missing_value_in_any_member(tmp_path: Path) -> None:
    lines = ['{"a":NaN,"z":1}', '{"a":2,"z":[NaN]}', '{"a":3,"z":"NaN"}', '{"a":oops}']
    found = read(file(tmp_path, "a.jsonl", "\n".join(lines)), a=FLOAT)
    assert found.values == {"a": [None, 2.0, 3.0, None]}
    assert found.places == [(4, "invalid_json", "")]
    assert found.kept["z"] == ["1", "[null]", "NaN"]


def test_numbers_follow_the_rules_of_csv(tmp_path: Path) -> None:
    numbers = ["1", "1.0", "1e2", "1.5", "3000000000", "-0.0", "0.1", "1e39", "1e400", "16777217"]
    lines = "".join(f'{{"n":{number},"x":1}}\n' for number in numbers)
    rows = "".join(f"{number},1\n" for number in numbers)
    for name, kind in {"int": INTEGER, "float": FLOAT, "half": Kind("float16")}.items():
        one = read(file(tmp_path, f"{name}.jsonl", lines), n=kind)
        two = read(file(tmp_path, f"{name}.csv", "n,x\n" + rows), n=kind)
        assert one.values == two.values
        assert [(e.row, e.code) for e in one.errors] == [(e.row, e.code) for e in two.errors]


def test_a_row_has_the_same_values_alone_and_next_to_a_row_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = ['"a":0.1', '"a":16777217', '"t":"\\u00e9\\ud83d\\ude00"', '"n":-0', '"b":false',
               '"l":[0.1,null]', '"z":{"a":5}', '"l":null', '"\\u0061":3', '"a":null']  # fmt: skip
    monkeypatch.setattr("batchline.files.json_file.FIRST_BYTES", 1_000)  # keys may come later
    kinds = {"a": FLOAT, "t": TEXT, "n": INTEGER, "b": BOOLEAN, "l": Kind("float32", 2)}
    for member in members:
        line = "{" + member + "}\n"
        padding = "{}\n" * 2_000
        alone = read_features([str(file(tmp_path, "a.jsonl", line + padding))], kinds)
        beside = read_features([str(file(tmp_path, "b.jsonl", line + "torn\n" + padding))], kinds)
        assert not alone.errors
        assert len(beside.errors) == 1
        for name in kinds:
            assert alone.values[name][0] == beside.values[name][0]


def test_a_list_has_the_width_that_was_asked_for(tmp_path: Path) -> None:
    text = '{"v":[1,2]}\n{"v":[1]}\n{"v":null}\n{"v":[3,"x"]}\n{"v":4}\n{"v":[5,6.5]}\n'
    found = read(file(tmp_path, "a.jsonl", text), v=Kind("float32", 2))
    assert found.values == {"v": [[1.0, 2.0], None, None, None, None, [5.0, 6.5]]}
    assert [(line, code) for line, code, _ in found.places] == [
        (2, "wrong_width"), (4, "not_a_number"), (5, "wrong_shape")
    ]  # fmt: skip


def test_a_key_that_is_there_twice_is_an_error_of_its_row(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.jsonl", '{"a":1,"a":2}\n{"z":1,"z":2,"a":3}\n'), a=FLOAT)
    assert found.values == {"a": [None, 3.0]}
    assert found.places == [(1, "repeated_key", "a")]


def test_blank_lines_are_no_rows_and_are_counted(tmp_path: Path) -> None:
    found = read(file(tmp_path, "a.jsonl", '\n{"a":1}\r\n  \n\t {"a":2} \n\nx'), a=FLOAT)
    assert found.values == {"a": [1.0, 2.0, None]}
    assert found.lines == [2, 4, 6]
    assert found.source.blank_lines == 3


def test_bytes_that_are_no_utf8_and_half_surrogates_are_errors_of_their_rows(
    tmp_path: Path,
) -> None:
    path = file(tmp_path, "a.jsonl", b'{"t":"\xff"}\n{"t":"\\ud800"}\n{"t":"ok"}\n')
    found = read(path, t=TEXT)
    assert found.values == {"t": [None, None, "ok"]}
    assert found.places == [(1, "invalid_encoding", ""), (2, "not_a_text", "t")]


def test_a_key_that_no_line_has_is_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidColumns, match="the key 'b' is missing in all lines"):
        read(file(tmp_path, "a.jsonl", '{"a":1}\n'), b=FLOAT)


def test_a_file_of_zero_bytes_has_no_rows(tmp_path: Path) -> None:
    assert read(file(tmp_path, "a.jsonl", ""), a=FLOAT).source.rows == 0


def test_another_encoding_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '{"t":"é"}\n'
    for content, options in [
        (b"\xef\xbb\xbf" + text.encode(), ReadOptions()),
        (text.encode("utf-16"), ReadOptions(encoding="utf-16")),
        (text.encode("latin-1"), ReadOptions(encoding="latin-1")),
    ]:
        path = file(tmp_path, "a.jsonl", content)
        assert read(path, options=options, t=TEXT).values == {"t": ["é"]}


def test_a_line_of_many_blanks_takes_no_more_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.pieces.RECORD_MAX_BYTES", 3_000_000)
    blanks = " " * 2_000_000
    lines = [
        '{"a":0}',
        blanks,
        f'{blanks}{{"a":1{blanks[:500_000]}}}{blanks[:9]}',
        blanks * 3,
        '{"a":2}',
    ]
    path = file(tmp_path, "a.jsonl", "\n".join(lines))
    begin = time.process_time()
    found = read(path, a=FLOAT)
    copy(path, tmp_path / "b.jsonl", features={"a": FLOAT})
    assert time.process_time() - begin < 5
    assert found.values == {"a": [0.0, 1.0, 2.0]}
    assert (found.lines, found.source.blank_lines) == ([1, 3, 5], 2)
    written = (tmp_path / "b.jsonl").read_text().splitlines()
    assert [json.loads(line)["a"] for line in written] == [0, 1, 2]


def test_a_first_line_that_is_long_shows_the_keys(tmp_path: Path) -> None:
    path = file(tmp_path, "a.jsonl", f'{{"t":"{"x" * 700_000}","a":1}}\n{{"a":2}}\n')
    assert read(path, a=FLOAT).kept["a"] == ["1", "2"]


# Writing ----------------------------------------------------------------------------------------


def test_lines_keep_their_bytes_and_get_new_members(tmp_path: Path) -> None:
    lines = ['{"id": "007", "n":1.0}', " {}  ", "{ }", '{"v":{}}', '{"t":"}"}']
    path = file(tmp_path, "a.jsonl", "\n".join(lines))
    assert copy(path, tmp_path / "b.jsonl") == 5
    assert (tmp_path / "b.jsonl").read_text().splitlines() == [
        '{"id": "007", "n":1.0,"label":"new"}',
        '{"label":"new"}',
        '{ "label":"new"}',
        '{"v":{},"label":"new"}',
        '{"t":"}","label":"new"}',
    ]


def test_values_are_json_and_what_json_has_not_is_null(tmp_path: Path) -> None:
    path = file(tmp_path, "a.jsonl", '{"a":1}\n' * 4)
    texts = ['quote " and \\', "line\nbreak\x01", "é😀", None]
    floats = [float("nan"), float("inf"), 1.0, 0.1]
    lists = [[1.5, None], [], None, [float("nan")]]
    structs = [{"a": 1, "b": "x"}, {"a": None, "b": None}, None, {"a": 2, "b": '"'}]
    new = pa.schema([("t", pa.string()), ("f", pa.float32()), ("v", pa.list_(pa.float64())),
                     ("s", pa.struct([("a", pa.int8()), ("b", pa.string())]))])  # fmt: skip
    values = {"t": texts, "f": floats, "v": lists, "s": structs}
    copy(path, tmp_path / "b.jsonl", new, values)
    found = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert [row["t"] for row in found] == texts
    assert [row["f"] for row in found] == [None, None, 1.0, 0.1]
    assert [row["v"] for row in found] == [[1.5, None], [], None, [None]]
    assert [row["s"] for row in found] == structs


def test_a_key_that_would_be_there_twice_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidColumns, match="label"):
        copy(file(tmp_path, "a.jsonl", '{"label":1}\n'), tmp_path / "b.jsonl")
    monkeypatch.setattr("batchline.files.json_file.FIRST_BYTES", 1_000)
    late = '{"a":1}\n' * 1_000 + '{"l\\u0061bel":1}\n'
    with pytest.raises(InvalidColumns, match="a row already has the key 'label'"):
        copy(file(tmp_path, "a.jsonl", late), tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()


def test_the_word_of_a_new_key_may_be_in_a_text(tmp_path: Path) -> None:
    copy(file(tmp_path, "a.jsonl", '{"a":"label","b":{"label":1}}\n'), tmp_path / "b.jsonl")
    assert json.loads((tmp_path / "b.jsonl").read_text())["label"] == "new"


def test_chosen_members_stay_as_they_came(tmp_path: Path) -> None:
    path = file(tmp_path, "a.jsonl", '{"a": 1.0, "b":2, "c":[1,  2]}\n{"b":1}\n')
    copy(path, tmp_path / "b.jsonl", keep=["c", "a"])
    lines = (tmp_path / "b.jsonl").read_text().splitlines()
    assert lines == ['{"c":[1,  2],"a":1.0,"label":"new"}', '{"label":"new"}']


def test_json_lines_become_csv(tmp_path: Path) -> None:
    path = file(tmp_path, "a.jsonl", '{"a":"x,y","b":1.0}\n{"b":{"c":"d"},"a":null}\n{"a":""}\n')
    copy(path, tmp_path / "b.csv")
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines == ["a,b,label", '"x,y",1.0,new', ',"{""c"":""d""}",new', '"",,new']


def test_a_late_key_that_has_no_column_in_csv_ends_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.json_file.FIRST_BYTES", 1_000)
    path = file(tmp_path, "a.jsonl", '{"a":1}\n' * 1_000 + '{"late":1}\n')
    with pytest.raises(InvalidColumns, match="'late'"):
        copy(path, tmp_path / "b.csv")
    assert copy(path, tmp_path / "b.csv", keep=["a"]) == 1_001


def test_files_with_other_keys_become_one(tmp_path: Path) -> None:
    file(tmp_path, "1.jsonl", '{"a":1}\n')
    file(tmp_path, "2.jsonl", '{"b":2}\n{}\n')
    assert copy(f"{tmp_path}/*.jsonl", tmp_path / "out.csv") == 3
    assert (tmp_path / "out.csv").read_text() == "a,b,label\n1,,new\n,2,new\n,,new\n"


def test_a_key_to_keep_may_be_in_later_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.json_file.FIRST_BYTES", 1_000)
    path = file(tmp_path, "a.jsonl", '{"a":1}\n' * 1_000 + '{"late":1}\n')
    copy(path, tmp_path / "b.csv", keep=["late"])
    assert (tmp_path / "b.csv").read_text().splitlines()[-2:] == [",new", "1,new"]
    with pytest.raises(InvalidColumns, match="'c' is missing and cannot be kept"):
        copy(file(tmp_path, "c.jsonl", '{"a":1}\n'), tmp_path / "d.csv", keep=["c"])
