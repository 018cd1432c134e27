"""`batchline predict`: which columns are read and written, and what their values are."""

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests import models
from tests.acceptance.test_predict import IRIS, predict, predict_here
from tests.service import environment


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format that the extension shows."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [["" if each is None else str(each) for each in row.values()] for row in rows]
        path.write_text("\n".join(",".join(line) for line in [list(rows[0]), *lines]) + "\n")
    return path


def values(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(parquet.read_table(path).to_pylist())
    return [json.loads(line) for line in path.read_text().splitlines()]


PLACES = {
    "csv": ["line 3", "line 4", "line 5", "line 6", "line 7"],
    "jsonl": ["line 2", "line 3", "line 4", "line 5", "line 6"],
    "parquet": [
        f"row {row} (row group {group})" for row, group in ((2, 0), (3, 1), (4, 1), (5, 2), (6, 2))
    ],
}


@pytest.mark.parametrize("ending", PLACES)
def test_the_error_of_a_value_has_its_column_whatever_its_name(tmp_path: Path, ending: str) -> None:
    names = ["ab", "a", "a/b", "~x", "a~1b"]
    model = models.adding(tmp_path / "adding.onnx", *names)
    good = dict.fromkeys(names, 1.0)
    source = write(tmp_path / f"in.{ending}", [good, *({**good, name: None} for name in names)])
    target = tmp_path / "out.jsonl"
    predict_here(source, "-o", target, "--model", model, "--keep", "none", status=3)
    for row, place, name in zip(values(target)[1:], PLACES[ending], names, strict=True):
        assert row["error"].startswith(f"not_a_number: {source}, {place}, column {name!r}: ")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_error_of_a_list_has_its_column(tmp_path: Path, ending: str) -> None:
    model = models.doubling(tmp_path / "doubling.onnx")
    rows = [{"x": [1.0, 2.0]}, {"x": [1.0, None]}, {"x": [1.0]}, {"x": None}]
    source, target = write(tmp_path / f"in.{ending}", rows), tmp_path / "out.jsonl"
    predict_here(source, "-o", target, "--model", model, status=3)
    assert [(row["error"] or ":").partition(":")[0] for row in values(target)] == [
        "", "not_a_number", "wrong_width", "wrong_shape"
    ]  # fmt: skip
    assert all(", column 'x': " in row["error"] for row in values(target)[1:])


def test_a_list_in_csv_needs_names_of_its_values(tmp_path: Path) -> None:
    model = models.doubling(tmp_path / "doubling.onnx")
    source, target = write(tmp_path / "in.csv", [{"a": 1, "b": 2}]), tmp_path / "out.csv"
    said = predict_here(source, "-o", target, "--model", model, status=1).stderr
    assert "'x' is a list of 2 values: name the columns that have them\n" in said
    assert (
        "hint: name 2 columns in the order of the model with --columns, such as --columns a,b"
        in said
    )
    predict_here(source, "-o", target, "--model", model, "--columns", "b,a")
    assert target.read_text() == 'a,b,doubled,error\n1,2,"[4.0,2.0]",\n'


def test_a_name_that_two_columns_would_have_is_told_before_the_run(tmp_path: Path) -> None:
    model = models.two_inputs(tmp_path / "adding.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("a,b,sum,error\n1,2,old,older\n")
    words = (source, "-o", target, "--model", model)
    for more in ((), ("--check",)):
        said = predict_here(*words, *more, status=1).stderr
        assert "two columns each would be named 'sum', 'error'\n" in said
        assert "--rename" in said
        assert "--keep" in said
    predict_here(*words, "--rename", "sum=total", "--rename", "error=reason")
    assert target.read_text() == "a,b,sum,error,total,reason\n1,2,old,older,3.0,\n"
    predict_here(*words, "--keep", "b")
    assert target.read_text() == "b,sum,error\n2,3.0,\n"
    said = predict_here(*words, "--keep", "bb", status=1).stderr
    assert "'bb' (nearest: 'b') is missing and cannot be kept" in said
    said = predict_here(*words, "--rename", "sum=c", "--rename", "sum=d", status=2).stderr
    assert "sum has two new names" in said


def test_the_output_has_only_the_columns_of_a_submission(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,sepal_length,sepal_width,petal_length,petal_width\n007,5.1,3.5,1.4,0.2\n")
    words = (source, "-o", target, *IRIS, "--keep", "id", "--no-error-column")
    predict_here(*words, "--add", "label", "--rename", "label=species")
    assert target.read_text() == "id,species\n007,setosa\n"
    predict_here(*words, "--add", "probability_virginica,label")
    assert target.read_text().startswith("id,probability_virginica,label\n007,0.0")
    said = predict_here(*words, "--add", "lable", status=1).stderr
    assert "no column 'lable'\nhint: use 'label'" in said
    said = predict_here(*words, "--add", "none", status=1).stderr
    assert "nothing would be added to the rows" in said
    predict_here(*words[:-1], "--add", "none")
    assert target.read_text() == "id,error\n007,\n"


def test_columns_that_are_not_kept_may_have_one_name(tmp_path: Path) -> None:
    model = models.two_inputs(tmp_path / "adding.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("x,x,a,b\n9,9,1,2\n")
    said = predict_here(source, "-o", target, "--model", model, status=1).stderr
    assert "the columns 1 and 2 are both named 'x'" in said
    predict_here(source, "-o", target, "--model", model, "--keep", "a")
    assert target.read_text() == "a,sum,error\n1,3.0,\n"


def test_files_with_other_columns_can_be_predicted_with_those_that_all_have(
    tmp_path: Path,
) -> None:
    model = models.two_inputs(tmp_path / "adding.onnx")
    folder, target = tmp_path / "in", tmp_path / "out.csv"
    folder.mkdir()
    (folder / "1.csv").write_text("id,a,b\n1,1,2\n")
    (folder / "2.csv").write_text("b,more,a,id,error2\n20,x,10,2,y\n")
    said = predict_here(folder, "-o", target, "--model", model, status=1).stderr
    assert "1.csv: the columns 'more', 'error2' are missing and cannot be kept" in said
    assert "--keep" in said
    predict_here(folder, "-o", target, "--model", model, "--keep", "id")
    assert target.read_text() == "id,sum,error\n1,3.0,\n2,30.0,\n"


def test_standard_output_and_folders_have_the_format_of_the_input(tmp_path: Path) -> None:
    model = models.two_inputs(tmp_path / "adding.onnx")
    line = '{"a":1,"b":"x"}\n'
    words = ("--input-format", "jsonl", "--model", model)
    done = predict("-", "-o", "-", *words, given=line, status=3)
    assert json.loads(done.stdout)["error"].startswith("not_a_number: standard input, line 1, ")
    source = write(tmp_path / "in.parquet", [{"a": 1.0, "b": 2.0}])
    predict(source, "-o", f"{tmp_path}/out/", "--model", model)
    [part] = (tmp_path / "out").glob("*.parquet")
    assert values(part) == [{"a": 1.0, "b": 2.0, "sum": 3.0, "error": None}]


def test_numbers_as_they_are_written_in_germany(tmp_path: Path) -> None:
    model = models.two_inputs(tmp_path / "adding.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("a;b;name\n1.299,50;2;é\n-;1;x\n", "latin-1")
    words = ("--delimiter", ";", "--decimal", ",", "--thousands", ".", "--encoding", "latin-1")
    predict_here(source, "-o", target, "--model", model, *words, "--null", "-", status=3)
    lines = target.read_text().splitlines()
    assert lines[:2] == ["a;b;name;sum;error", "1.299,50;2;é;1301,5;"]
    assert lines[2].startswith("-;1;x;;not_a_number: ")
    source.write_text("a\tb\n1\t2\n")
    predict_here(source, "-o", target, "--model", model, "--delimiter", "\\t")
    assert target.read_text() == "a\tb\tsum\terror\n1\t2\t3.0\t\n"


def test_outputs_of_all_types_in_each_format(tmp_path: Path) -> None:
    model = models.of_many_types(tmp_path / "many.onnx")
    source = write(tmp_path / "in.csv", [{"x": 2}, {"x": 0}])
    first = {"x": "2", "whole": 2, "flag": True, "text": "2", "inverse": 0.5, "both": [2.0, 0.5]}
    nothing = dict.fromkeys(("whole", "flag", "text", "inverse", "both"))
    for ending in ("jsonl", "parquet"):
        target = tmp_path / f"out.{ending}"
        predict_here(source, "-o", target, "--model", model, status=3)
        one, two = values(target)
        assert one == first | {"error": None}
        assert two.pop("error").startswith(f"prediction_not_finite: {source}, line 3: ")
        assert two == {"x": "0"} | nothing
    target = tmp_path / "out.csv"
    predict_here(source, "-o", target, "--model", model, status=3)
    header, line, bad = target.read_text().splitlines()
    assert header == "x,whole,flag,text,inverse,both,error"
    assert line == '2,2,true,2,0.5,"[2.0,0.5]",'
    assert bad.startswith('0,,,,,,"prediction_not_finite: ')


def test_a_number_that_is_not_finite_is_written_as_each_format_can(tmp_path: Path) -> None:
    model = models.of_many_types(tmp_path / "many.onnx")
    source = write(tmp_path / "in.csv", [{"x": 0}])
    found = {}
    for ending in ("csv", "jsonl", "parquet"):
        target = tmp_path / f"out.{ending}"
        predict_here(source, "-o", target, "--model", model, "--allow-non-finite")
        found[ending] = target
    assert found["csv"].read_text().splitlines()[1] == '0,0,false,0,inf,"[0.0,null]",'
    assert [values(found["jsonl"])[0][name] for name in ("inverse", "both")] == [None, [0.0, None]]
    assert [values(found["parquet"])[0][name] for name in ("inverse", "both")] == [
        float("inf"), [0.0, float("inf")]
    ]  # fmt: skip


@pytest.mark.parametrize("make", [models.fixed_batch, models.one_by_one])
def test_a_model_with_a_fixed_batch_predicts_any_number_of_rows(tmp_path: Path, make: Any) -> None:
    model = make(tmp_path / "fixed.onnx")
    source = write(tmp_path / "in.csv", [{"a": n, "b": -n} for n in range(5)])
    target = tmp_path / "out.jsonl"
    predict_here(source, "-o", target, "--model", model, "--columns", "a,b", "--keep", "none")
    assert [row["y"] for row in values(target)] == [[2.0 * n, -2.0 * n] for n in range(5)]


def test_names_of_classes_may_have_commas_and_quotes(tmp_path: Path) -> None:
    model = models.classifier(tmp_path / "classes.onnx", "a,b", 'say "x"', "z")
    source = write(tmp_path / "in.csv", [{"p": 0, "q": 0}])
    target = tmp_path / "out.csv"
    words = ("--columns", "p,q", "--keep", "none", "--no-error-column")
    predict_here(source, "-o", target, "--model", model, *words)
    header, line = target.read_text().splitlines()
    assert header == 'label,"probability_a,b","probability_say ""x""",probability_z'
    assert line.startswith('"a,b",0.3333')


def test_a_list_that_is_the_same_for_all_rows_is_a_list(tmp_path: Path) -> None:
    model = models.with_constant_output(tmp_path / "constant.onnx")
    source = write(tmp_path / "in.csv", [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    target = tmp_path / "out.jsonl"
    predict_here(source, "-o", target, "--model", model, "--columns", "a,b", "--keep", "none")
    assert [row["names"] for row in values(target)] == [["a", "b"]] * 2


def test_columns_of_parquet_are_kept_with_all_their_digits(tmp_path: Path) -> None:
    model = models.adding(tmp_path / "adding.onnx", "x")
    table = pa.table(
        {
            "x": [1.0, 2.0],
            "day": [date(2024, 1, 2), None],
            "at": pa.array([1704164645123456789, None], pa.timestamp("ns", "Europe/Berlin")),
            "paid": pa.array([Decimal("12345678901234567.89"), None], pa.decimal128(20, 2)),
            "kind": pa.array(["a", None]).dictionary_encode(),
            "tags": [["p", 'q"'], None],
            "__index_level_0__": [7, 8],
        }
    )
    source = tmp_path / "in.parquet"
    parquet.write_table(table, source)
    predict_here(source, "-o", tmp_path / "out.csv", "--model", model, "--no-error-column")
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "1.0,2024-01-02,2024-01-02 04:04:05.123456789+0100,12345678901234567.89,a,"
        '"[""p"",""q\\""""]",7,1.0',
        "2.0,,,,,,8,2.0",
    ]
    predict_here(source, "-o", tmp_path / "out.parquet", "--model", model, "--no-error-column")
    assert parquet.read_table(tmp_path / "out.parquet").drop(["sum"]).equals(table)


def test_an_output_that_is_its_own_input_is_refused(tmp_path: Path) -> None:
    model = models.adding(tmp_path / "adding.onnx", "a", "b")
    source = write(tmp_path / "in.csv", [{"id": 7, "a": 1, "b": 2}])
    other = write(tmp_path / "other.csv", [{"id": 8, "a": 1, "b": 2}])
    before = source.read_text()
    symlink, link = tmp_path / "symlink.csv", tmp_path / "link.csv"
    symlink.symlink_to(source)
    link.hardlink_to(source)
    url = f"file://{tmp_path}/in.csv"
    for target, given in (
        *((each, source) for each in (source, symlink, link, f"{tmp_path}/./in.csv")),
        *((each, source) for each in (url, f"local://{source}", f"file://{symlink}")),
        *((each, url) for each in (source, link, url, f"local://{source}")),
    ):
        words = (other, given, "-o", target, "--model", model)
        for more in ((), ("--check",), ("--keep", "id")):
            said = predict_here(*words, *more, status=1).stderr
            assert f"error: the output {target} is the input {given}\n" in said
            assert "hint: write another file, and rename it" in said
    assert source.read_text() == before
    assert {each.name for each in tmp_path.iterdir()} == {
        "adding.onnx", "in.csv", "other.csv", "symlink.csv", "link.csv"
    }  # fmt: skip


def test_an_output_folder_that_contains_an_input_is_refused(tmp_path: Path) -> None:
    model = models.adding(tmp_path / "adding.onnx", "a", "b")
    (tmp_path / "rows" / "day").mkdir(parents=True)
    source = write(tmp_path / "rows" / "day" / "in.csv", [{"id": 7, "a": 1, "b": 2}])
    (tmp_path / "link").symlink_to(tmp_path / "rows")
    folders = [f"{tmp_path}/{each}" for each in ("rows", "rows/", "link/", "rows/day/")]
    runs = [(folder, words) for folder in folders for words in ((), ("--resume",))]
    for folder, words in (*runs, (f"file://{tmp_path}/link/", ())):
        said = predict_here(source, "-o", folder, "--model", model, *words, status=1).stderr
        assert f"error: the output folder {folder} contains the input {source}\n" in said
        assert "hint: give a folder of its own" in said
    assert [each.name for each in (tmp_path / "rows").iterdir()] == ["day"]
    assert [each.name for each in (tmp_path / "rows" / "day").iterdir()] == ["in.csv"]


def test_standard_streams_that_are_the_other_file_are_refused(tmp_path: Path) -> None:
    model = models.adding(tmp_path / "adding.onnx", "a", "b")
    source = write(tmp_path / "in.csv", [{"id": 7, "a": 1, "b": 2}])
    command = [sys.executable, "-m", "batchline", "predict", "--model", str(model)]
    before = source.read_text()
    with source.open() as rows, source.open("a") as grown:
        for words, streams in (
            (["-", "--input-format", "csv", "-o", str(source)], {"stdin": rows}),
            ([str(source), "-o", "-"], {"stdout": grown}),
        ):
            done = subprocess.run(
                [*command, *words], **streams, stderr=subprocess.PIPE, env=environment(), text=True
            )
            assert done.returncode == 1
            assert " is the input " in done.stderr
            assert source.read_text() == before
