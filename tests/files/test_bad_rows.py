"""Rows that cannot be read are well-formed rows of the output."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as pyarrow_csv
from pyarrow import parquet

from batchline.files import Kind, open_sink, open_source
from tests.files.reading import FLOAT, file
from tests.files.writing import LABEL


def copy(source: Path, path: Path, **features: Kind) -> int:
    """Copy all rows, with a new column that has what is wrong with them, or nothing."""
    with open_source([str(source)]) as found:
        kept = found.check(features)
        with open_sink(str(path), kept, LABEL, found.write_options(str(path))) as sink:
            for part in found.parts():
                for block in part.blocks(features):
                    codes = [
                        block.errors[row].code if row in block.errors else None
                        for row in range(block.rows)
                    ]
                    sink.write(sink.encode(block.kept, [pa.array(codes, pa.string())]))
            sink.commit(found.rows)
    return found.rows


def values(path: Path) -> list[list[Any]]:
    """Return the values of each row of a file of any format."""
    if path.suffix == ".csv":
        return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True))[
            1:
        ]
    if path.suffix == ".jsonl":
        return [list(json.loads(line).values()) for line in path.read_text().splitlines()]
    return [list(row.values()) for row in parquet.read_table(path).to_pylist()]


@pytest.mark.parametrize(
    ("row", "cells", "code"),
    [
        (b"8,1", ["8", "1", None], "wrong_field_count"),
        (b"8", ["8", None, None], "wrong_field_count"),
        (b"9,1,2,3,4", ["9", "1", "2"], "wrong_field_count"),
        (b'"9,""8""",1,2,3,', ['9,"8"', "1", "2"], "wrong_field_count"),
        (b'"q,1,2', ['"q', "1", "2"], "unclosed_quote"),
        (b'"q""r,1,2,3', ['"q""r', "1", "2"], "unclosed_quote"),
        (b'"q,1\r2,3', ['"q', "1\r2", "3"], "unclosed_quote"),
        (b"Andr\xe9,1,2", ["Andr\ufffd", "1", "2"], "invalid_encoding"),
        (b"Andr\xe9,1", ["Andr\ufffd", "1", None], "invalid_encoding"),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_row_of_csv_has_the_cells_that_there_are(
    tmp_path: Path, row: bytes, cells: list[str | None], code: str, ending: str
) -> None:
    source = file(tmp_path, "a.csv", b"id,a,b\n1,2,3\n" + row + b"\n7,5,6\n")
    target = tmp_path / f"b.{ending}"
    assert copy(source, target, a=FLOAT) == 3
    nothing = "" if ending == "csv" else None
    assert values(target) == [
        ["1", "2", "3", nothing],
        [nothing if cell is None else cell for cell in [*cells, code]],
        ["7", "5", "6", nothing],
    ]


def test_the_error_of_a_row_with_too_many_fields_has_those_that_the_output_has_not(
    tmp_path: Path,
) -> None:
    source = file(tmp_path, "a.csv", 'a,b\n1,2,"3, 4",5\n')
    with open_source([str(source)]) as found:
        [part] = found.parts()
        [block] = part.blocks({"a": FLOAT})
        assert block.errors[0].detail.endswith("""The output is without the last 2: '"3, 4",5'""")


def test_the_error_of_a_byte_that_is_no_utf8_has_its_cell(tmp_path: Path) -> None:
    source = file(tmp_path, "a.csv", b"a,b\n1,Andr\xe9\n")
    with open_source([str(source)]) as found:
        [part] = found.parts()
        [block] = part.blocks({"a": FLOAT})
        assert (block.errors[0].column, block.errors[0].value) == ("b", "Andr\\xe9")


@pytest.mark.parametrize(
    ("line", "members", "code"),
    [
        (b"[1,2]", [], "invalid_json"),
        (b'{"id":', [], "invalid_json"),
        (b'{"id":1} {"id":2}', [], "invalid_json"),
        (b'{"id":1.50,"a":-Infinity}', ["1.50", None], "invalid_json"),
        (b'{"id":"\xe9","a":1}', ["\ufffd", "1"], "invalid_encoding"),
        (b"[" * 100_000, [], "invalid_json"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_line_that_is_no_object_has_no_members_but_any_other_keeps_them(
    tmp_path: Path, line: bytes, members: list[str | None], code: str, ending: str
) -> None:
    source = file(tmp_path, "a.jsonl", b'{"id":0,"a":1}\n' + line + b'\n{"id":2,"a":3}\n')
    target = tmp_path / f"b.{ending}"
    assert copy(source, target, a=FLOAT) == 3
    first, bad, last = values(target)
    assert [first[:2], last[:2]] in ([["0", "1"], ["2", "3"]], [[0, 1], [2, 3]])
    if ending != "jsonl":
        members = members or [None, None]
        assert bad == [
            "" if each is None and ending == "csv" else each for each in [*members, code]
        ]
    else:
        shown = [None if each is None else str(each) for each in bad]
        assert shown == [*(str(float(each)) if each == "1.50" else each for each in members), code]


def test_half_of_a_surrogate_pair_can_be_kept_in_each_format(tmp_path: Path) -> None:
    source = file(tmp_path, "a.jsonl", '{"id":"\\ud800","a":1}\n')
    for ending in ("csv", "parquet"):
        copy(source, tmp_path / f"b.{ending}", a=FLOAT)
        assert values(tmp_path / f"b.{ending}")[0][0] == "\ufffd"


def test_a_record_that_is_too_large_leaves_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.pieces.RECORD_MAX_BYTES", 3_000_000)
    source = file(tmp_path, "a.csv", f't,x\na,0\n"{"é" * 4_500_000}",1\nb,2\n')
    assert copy(source, tmp_path / "b.csv", x=FLOAT) == 3
    csv.field_size_limit(10_000_000)
    first, bad, last = values(tmp_path / "b.csv")
    assert bad[0][:2] == '"é'
    assert bad[1:] == ["", "record_too_large"]
    assert [first, last] == [["a", "0", ""], ["b", "2", ""]]


@given(st.text('a1,"\n\r é\udcff', max_size=30))
def test_any_csv_becomes_well_formed(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = file(folder, "a.csv", b"x,y\n" + text.encode("utf-8", "surrogateescape"))
    rows = copy(source, folder / "b.csv", y=FLOAT)
    read = pyarrow_csv.read_csv(
        folder / "b.csv", parse_options=pyarrow_csv.ParseOptions(newlines_in_values=True)
    )
    assert (read.num_rows, read.column_names) == (rows, ["x", "y", "label"])
