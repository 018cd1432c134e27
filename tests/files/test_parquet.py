"""Parquet as it is read and written."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchline.file_errors import FileUnreadable, InvalidColumns
from batchline.files import Kind, open_source
from tests.files.reading import BOOLEAN, FLOAT, INTEGER, TEXT, file, read, read_features
from tests.files.writing import LABEL, copy


def table(folder: Path, columns: dict[str, Any], name: str = "a.parquet", **how: Any) -> Path:
    parquet.write_table(pa.table(columns), folder / name, **how)
    return folder / name


# Reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float32"])
@pytest.mark.parametrize("stored", [pa.int64(), pa.float64(), pa.uint64(), pa.decimal128(38, 2)])
def test_numbers_follow_the_rules_of_csv(tmp_path: Path, dtype: str, stored: pa.DataType) -> None:
    numbers = [1, 0, 127, 128, 255, 256, 2**31, 2**53, 2**62, None]
    if stored != pa.uint64():
        numbers += [-1, -128, -129, -(2**63)]
    if stored not in (pa.uint64(), pa.int64()):
        numbers += [1.5, 1e20, 34.0, 2**63, 2**64]
    if stored == pa.float64():
        numbers = [n if n is None else float(n) for n in numbers]
    as_stored = [
        Decimal(str(n)) if pa.types.is_decimal(stored) and n is not None else n for n in numbers
    ]
    one = read(table(tmp_path, {"n": pa.array(as_stored, stored)}), n=Kind(dtype))
    cells = "".join(f"{'' if number is None else f'{Decimal(number):f}'},\n" for number in numbers)
    two = read(file(tmp_path, "a.csv", "n,x\n" + cells), n=Kind(dtype))
    assert one.values == two.values
    assert [(e.row, e.code) for e in one.errors] == [(e.row, e.code) for e in two.errors]


def test_an_error_names_the_row_of_the_file_and_its_row_group(tmp_path: Path) -> None:
    numbers = [1.0, float("nan"), 3.0, float("inf"), 5.0]
    path = table(tmp_path, {"n": pa.array(numbers), "id": range(5)}, row_group_size=2)
    found = read(path, n=FLOAT)
    assert found.values["n"] == [1.0, None, 3.0, None, 5.0]
    assert [(e.code, e.row, e.row_group, e.line) for e in found.errors] == [
        ("not_finite", 4, 1, None)
    ]  # fmt: skip
    assert found.kept["id"] == [0, 1, 2, 4]
    place = f"{path}, row 4 (row group 1), column 'n'"
    assert str(found.errors[0]) == f"{place}: expected a finite number, got 'inf'"


def test_nan_is_a_missing_value(tmp_path: Path) -> None:
    nan = float("nan")
    path = table(tmp_path, {"x": [nan, 1.0], "n": [2.0, nan], "l": [[1.0, nan], [2.0, 3.0]]})
    found = read(path, x=FLOAT, n=INTEGER, l=Kind("float64", 2))
    assert found.values == {"x": [None, 1.0], "n": [2, None], "l": [[1.0, None], [2.0, 3.0]]}
    assert found.errors == []


def test_texts_booleans_lists_and_categories_are_features(tmp_path: Path) -> None:
    columns = {
        "t": pa.array(["a", "b", "a", None], pa.large_string()),
        "c": pa.array(["x", "y", None, "x"]).dictionary_encode(),
        "b": pa.array([True, None, False, True]),
        "v": pa.array([[1.5, 2.0], None, [1.0], [3.0, None]]),
        "f": pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int64(), 2)),
    }
    kinds = {"t": TEXT, "c": TEXT, "b": BOOLEAN, "v": Kind("float32", 2), "f": Kind("int32", 2)}
    found = read_features([str(table(tmp_path, columns))], kinds)
    assert [(e.code, e.row, e.column) for e in found.errors] == [("wrong_width", 3, "v")]
    assert found.values == {
        "t": ["a", "b", None, None],
        "c": ["x", "y", None, "x"],
        "b": [True, None, None, True],
        "v": [[1.5, 2.0], None, None, [3.0, None]],
        "f": [[1, 2], [3, 4], None, [5, 6]],
    }


def test_a_column_whose_type_cannot_be_the_features_is_found_before_the_first_row(
    tmp_path: Path,
) -> None:
    columns = {"a": ["1"], "b": [1], "c": [datetime(2024, 1, 1)], "d": [[1.0]], "e": [True]}
    kinds = {"a": FLOAT, "b": TEXT, "c": INTEGER, "d": FLOAT, "e": FLOAT}
    with pytest.raises(InvalidColumns) as caught:
        read_features([str(table(tmp_path, columns))], kinds)
    assert [fault.code for fault in caught.value.faults] == ["wrong_type"] * 5
    hint = "convert the texts to numbers, or read them from CSV"
    assert [fault.hint.startswith(hint) for fault in caught.value.faults] == [True, *[False] * 4]


def test_a_column_of_nulls_is_missing_values(tmp_path: Path) -> None:
    path = table(tmp_path, {"n": pa.nulls(2), "m": pa.nulls(2, pa.int8())})
    assert read(path, n=FLOAT, m=INTEGER).values == {"n": [None] * 2, "m": [None] * 2}


def test_a_file_without_rows(tmp_path: Path) -> None:
    found = read(table(tmp_path, {"n": pa.array([], pa.float32())}), n=FLOAT)
    assert (found.values, found.source.rows) == ({"n": []}, 0)


@pytest.mark.parametrize("cut", [-1, -8, 10, 4, 0])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, cut: int) -> None:
    content = table(tmp_path, {"n": list(range(1000))}).read_bytes()
    path = file(tmp_path, "b.parquet", content[:cut])
    with pytest.raises(FileUnreadable, match=r"b\.parquet is (cut off|empty)"):
        read(path, n=FLOAT)


def test_a_file_that_is_damaged_inside_is_an_error(tmp_path: Path) -> None:
    content = bytearray(table(tmp_path, {"n": [float(n) for n in range(10_000)]}).read_bytes())
    content[4:2000] = b"\0" * 1996
    with pytest.raises(FileUnreadable, match="is cut off or damaged"):
        read(file(tmp_path, "b.parquet", bytes(content)), n=FLOAT)


def test_a_csv_file_is_not_taken_for_parquet_nor_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="is not a Parquet file"):
        read(file(tmp_path, "a.parquet", "a,b\n1,2\n"), a=FLOAT)
    path = table(tmp_path, {"n": [1]}, "b.csv")
    with pytest.raises(FileUnreadable, match="is a Parquet file"):
        read(path, n=FLOAT)


def test_blocks_of_large_rows_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchline.files.parquet_file.PARQUET_BLOCK_BYTES", 50_000)
    path = table(tmp_path, {"t": [f"{n}" + "x" * 10_000 for n in range(100)]}, compression="none")
    with open_source([str(path)]) as source:
        source.check({})
        rows = [block.rows for part in source.parts() for block in part.blocks({})]
    assert sum(rows) == 100
    assert max(rows) <= 5


# Writing ----------------------------------------------------------------------------------------


def test_kept_columns_keep_their_types(tmp_path: Path) -> None:
    columns = {
        "time": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "Europe/Berlin")),
        "money": pa.array([Decimal("12345678901234567.89")]),
        "tags": pa.array([["a", None]]),
        "raw": pa.array([b"\xff"]),
        "small": pa.array([1], pa.int8()),
        "__index_level_0__": pa.array([7]),
    }
    path = table(tmp_path, columns)
    copy(path, tmp_path / "b.parquet")
    found = parquet.read_table(tmp_path / "b.parquet")
    assert found.drop(["label"]).equals(parquet.read_table(path))
    assert found.column("label").to_pylist() == ["new"]


def test_categories_differ_from_file_to_file(tmp_path: Path) -> None:
    for name, values in {"1": ["a", "b"], "2": ["c", None, "a"]}.items():
        table(tmp_path, {"c": pa.array(values).dictionary_encode()}, f"{name}.parquet")
    copy(f"{tmp_path}/?.parquet", tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet")["c"].to_pylist() == [
        "a",
        "b",
        "c",
        None,
        "a",
    ]
    copy(f"{tmp_path}/?.parquet", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "a,new", "b,new", "c,new", ",new", "a,new"
    ]  # fmt: skip


EVENING = datetime(9999, 12, 31, 23)
CATEGORY = pa.dictionary(pa.int32(), pa.string())


def in_files(folder: Path, *columns: pa.Array) -> str:
    for number, column in enumerate(columns):
        table(folder, {"n": column, "id": pa.array([number] * len(column))}, f"{number}.parquet")
    return f"{folder}/?.parquet"


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (pa.array([1], pa.int32()), pa.array([2**62]), ["1", str(2**62)]),
        (pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int8()), ["4294967295", "-1"]),
        (pa.nulls(1), pa.array([1.5], pa.float32()), ["", "1.5"]),
        (pa.nulls(1), pa.array(["a"], CATEGORY), ["", "a"]),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a"], CATEGORY), pa.array(["b"]), ["a", "b"]),
        (
            pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
            pa.array([Decimal("12345678901234567890")], pa.decimal128(38, 0)),
            ["1.50", "12345678901234567890.00"],
        ),
        (
            pa.array([EVENING], pa.timestamp("ms")),
            pa.array([EVENING], pa.timestamp("us")),
            ["9999-12-31 23:00:00.000000"] * 2,
        ),
        (
            pa.array([[{"a": 1}]], pa.list_(pa.struct([("a", pa.int8())]))),
            pa.array([[{"a": 2**62}], []], pa.large_list(pa.struct([("a", pa.int64())]))),
            ['"[{""a"":1}]"', f'"[{{""a"":{2**62}}}]"', "[]"],
        ),
    ],
    ids=lambda given: str(given.type) if isinstance(given, pa.Array) else None,
)
def test_types_that_differ_from_file_to_file_become_one_that_holds_all_values(
    tmp_path: Path, one: pa.Array, other: pa.Array, texts: list[str]
) -> None:
    for first, second in ((one, other), (other, one)):
        source = in_files(tmp_path, first, second)
        copy(source, tmp_path / "out.parquet", keep=["n"])
        found = parquet.read_table(tmp_path / "out.parquet")["n"].to_pylist()
        assert found == first.to_pylist() + second.to_pylist()
    copy(source, tmp_path / "out.csv", keep=["n"])
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert sorted(rows) == sorted(f"{text},new" for text in texts)


def test_a_type_holds_the_values_of_more_than_two_files(tmp_path: Path) -> None:
    source = in_files(tmp_path, pa.array([1], pa.int8()), pa.nulls(1), pa.array([2**40]))
    copy(source, tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet")["n"].to_pylist() == [1, None, 2**40]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.string()),
        (pa.int64(), pa.float64()),
        (pa.int8(), pa.float64()),
        (pa.int64(), pa.uint64()),
        (pa.int64(), pa.decimal128(10, 2)),
        (pa.float64(), pa.decimal128(20, 2)),
        (pa.float32(), pa.float64()),
        (pa.bool_(), pa.int8()),
        (pa.string(), pa.binary()),
        (CATEGORY, pa.int64()),
        (pa.date32(), pa.timestamp("ms")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.list_(pa.int64()), pa.list_(pa.float64())),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.float64())])),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.int64()), ("b", pa.int8())])),
        (pa.map_(pa.string(), pa.int64()), pa.map_(pa.string(), pa.float64())),
    ],
    ids=str,
)
def test_types_of_which_none_holds_all_values_are_rejected_before_the_first_row(
    tmp_path: Path, one: pa.DataType, other: pa.DataType
) -> None:
    for first, second in ((one, other), (other, one)):
        source = in_files(tmp_path, pa.nulls(1, first), pa.nulls(1, second))
        with open_source([source]) as found, pytest.raises(InvalidColumns) as caught:
            found.check({})
        types = [parquet.read_schema(f"{tmp_path}/{n}.parquet").field("n").type for n in (0, 1)]
        assert [(fault.code, fault.pointer) for fault in caught.value.faults] == [
            ("wrong_type", f"{tmp_path}/1.parquet")
        ]
        said = f"the type of 'n' is {types[1]}, but {types[0]} in the files before"
        assert said in str(caught.value)
        assert "--keep NAME,NAME" in caught.value.hint


def test_a_feature_that_is_not_kept_may_have_another_type_in_each_file(tmp_path: Path) -> None:
    source = in_files(tmp_path, pa.array([2**53 + 1]), pa.array([None, 7.0]))
    features, keep = {"n": Kind("int64")}, ["id"]
    copy(source, tmp_path / "out.csv", keep=keep, features=features)
    assert (tmp_path / "out.csv").read_text() == "id,label\n0,new\n1,new\n1,new\n"
    with open_source([source]) as found:
        blocks = [block for part in found.parts() for block in part.blocks(features, keep)]
    numbers = [n for block in blocks for n in block.features["n"].to_pylist()]
    assert numbers == [2**53 + 1, None, 7]


def test_a_time_that_the_finer_unit_of_another_file_cannot_hold_is_an_error(
    tmp_path: Path,
) -> None:
    times = pa.array([EVENING], pa.timestamp("us")), pa.array([0], pa.timestamp("ns"))
    source = in_files(tmp_path, *times)
    for target in ("out.csv", "out.parquet"):
        with pytest.raises(InvalidColumns) as caught:
            copy(source, tmp_path / target)
        said = str(caught.value)
        assert f"{tmp_path}/0.parquet: a value of 'n' is out of the range of timestamp[ns]" in said
        assert "timestamp[us]" in said
        assert not (tmp_path / target).exists()


def test_columns_of_one_name_are_rejected_also_without_a_name(tmp_path: Path) -> None:
    names = ["n", "", ""]
    columns = pa.Table.from_arrays([pa.array([1])] * 3, names)
    parquet.write_table(columns, tmp_path / "a.parquet")
    with pytest.raises(InvalidColumns, match="the columns 2 and 3 are both named ''"):
        copy(tmp_path / "a.parquet", tmp_path / "out.csv")


def test_a_column_that_begins_with_many_nulls_has_one_type(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "n,s\n" + "1,\n" * 800_000 + "2,late\n")
    copy(path, tmp_path / "b.parquet", LABEL, {"label": [None] * 800_000 + ["x"]})
    found = parquet.read_table(tmp_path / "b.parquet")
    assert found.schema.types == [pa.string()] * 3
    assert found["s"].null_count == 800_000
    assert found.slice(800_000).to_pylist() == [{"n": "2", "s": "late", "label": "x"}]


def test_parquet_becomes_json_lines(tmp_path: Path) -> None:
    columns = {"n": [1, None], "t": ['a"', "b"], "v": [[1.0], None], "f": [0.1, float("nan")]}
    copy(table(tmp_path, columns), tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text().splitlines() == [
        '{"n":1,"t":"a\\"","v":[1.0],"f":0.1,"label":"new"}',
        '{"n":null,"t":"b","v":null,"f":null,"label":"new"}',
    ]


def test_no_part_of_a_large_input_is_lost_in_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.parquet_writer.PARQUET_GROUP_ROWS", 100)
    path = table(tmp_path, {"n": list(range(1000))}, row_group_size=70)
    copy(path, tmp_path / "b.parquet")
    found = parquet.ParquetFile(tmp_path / "b.parquet")
    assert found.metadata.num_row_groups == 8
    assert found.read()["n"].to_pylist() == list(range(1000))


def test_texts_have_dictionaries_and_floats_have_none(tmp_path: Path) -> None:
    source = table(tmp_path, {"id": range(1_000), "x": [0.5] * 1_000, "note": ["a"] * 1_000})
    assert copy(source, tmp_path / "b.parquet") == 1_000
    group = parquet.read_metadata(tmp_path / "b.parquet").row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    have = {name for name, column in columns.items() if column.has_dictionary_page}
    assert have == {"id", "note", "label"}
