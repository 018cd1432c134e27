"""`batchline predict`: files in, every row back with its prediction."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from pyarrow import parquet

from batchline.constants import IRIS_LABELS, IRIS_MODEL
from tests import models
from tests.in_process import run_here
from tests.service import Command, environment, migrate, wait_for

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
IRIS = ("--model", str(IRIS_MODEL), "--labels", str(IRIS_LABELS), "--columns", ",".join(NAMES))
CLASSES = ["setosa", "versicolor", "virginica"]
ADDED = ["label", *(f"probability_{name}" for name in CLASSES), "error"]


def predict(*words: object, status: int = 0, given: str | None = None, **settings: str) -> Any:
    """Run the command, and return what it wrote to stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "batchline", "predict", *map(str, words)],
        env=environment(**settings),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def predict_here(*words: object, status: int = 0, **settings: str) -> Any:
    """Do the same inside of the test's process."""
    done = run_here("predict", *words, **settings)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def flowers(path: Path, *rows: str) -> Path:
    """A CSV file with an id, the four columns and a note, in which the order is not the model's."""
    header = "id,petal_width,petal_length,sepal_width,sepal_length,note"
    lines = [f"{n:03d},{','.join(map(str, row[::-1]))},n {n}" for n, row in enumerate(FLOWERS)]
    path.write_text("\n".join([header, *lines, *rows]) + "\n")
    return path


def expected(rows: list[list[float]]) -> list[list[float]]:
    """The probabilities that ONNX Runtime itself gives."""
    session = onnxruntime.InferenceSession(IRIS_MODEL)
    name = session.get_inputs()[0].name
    found = session.run(None, {name: np.array(rows, np.float32)})[-1]
    return [list(row.values()) if isinstance(row, dict) else row.tolist() for row in found]


def number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(path.read_text())))


def test_each_row_of_a_file_comes_back_unchanged_with_its_prediction(tmp_path: Path) -> None:
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    done = predict(source, "-o", target, *IRIS)
    assert done.stderr == f"3 rows in {target}\n"
    lines = target.read_text().splitlines()
    header = source.read_text().splitlines()[0]
    assert lines[0] == ",".join([header, *ADDED])
    for line, before, values in zip(
        lines[1:], source.read_text().splitlines()[1:], expected(FLOWERS), strict=True
    ):
        assert line.startswith(f"{before},")
        label, *probabilities, error = line.removeprefix(f"{before},").split(",")
        assert label == CLASSES[int(np.argmax(values))]
        assert [float(each) for each in probabilities] == pytest.approx(values, rel=1e-6)
        assert error == ""


def test_a_row_that_cannot_be_read_or_predicted_has_its_reason_and_harms_no_other(
    tmp_path: Path,
) -> None:
    bad = ["7,oops,1,1,1,x", "", "9,,1,1,1,x", "10,1e39,1,1,1,x", "11,1,2,3,4,last"]
    source, target = flowers(tmp_path / "in.csv", *bad), tmp_path / "out.csv"
    done = predict_here(source, "-o", target, *IRIS, status=3)
    rows = read(target)
    assert [row["id"] for row in rows[3:]] == ["7", "9", "10", "11"]
    errors = [row["error"] for row in rows]
    assert errors[:3] == ["", "", ""]
    assert errors[3].startswith(f"not_a_number: {source}, line 5, column 'petal_width': ")
    assert "'oops'" in errors[3]
    assert f"{source}, line 7, column 'petal_width'" in errors[4]
    assert f"{source}, line 8, column 'petal_width'" in errors[5]
    assert [row["label"] == "" for row in rows] == [False] * 3 + [True] * 3 + [False]
    assert errors[6] == ""
    assert "7 rows in" in done.stderr
    assert "3 with errors" in done.stderr
    assert "1 blank line skipped" in done.stderr


def test_a_missing_value_is_named_as_such_with_what_to_do(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(f"id,{','.join(NAMES)}\na,5.1,,1.4,0.2\nb,5.1,3,1.4,NaN\n")
    done = predict_here(source, "-o", target, *IRIS, status=3)
    reason = "the value is missing (empty, null or NaN), and the model needs one"
    assert f"not_a_number: {source}, line 2, column 'sepal_width': {reason}\n" in done.stderr
    assert f"not_a_number: {source}, line 3, column 'petal_width': {reason}\n" in done.stderr
    assert "hint: fill in sepal_width, or add --missing sepal_width if the model" in done.stderr
    done = predict_here(source, "-o", target, *IRIS, "--missing", "all", status=3)
    assert "2 prediction_not_finite" in done.stderr, "the model got them"


def test_a_missing_text_is_named_as_such_with_what_to_do(tmp_path: Path) -> None:
    model = models.imputing(tmp_path / "cities.onnx")
    source = tmp_path / "in.csv"
    source.write_text("age,income,height,city\n,,1,\n")
    done = predict_here(source, "-o", tmp_path / "out.csv", "--model", model, status=3)
    assert "column 'city': the value is missing" in done.stderr
    assert "add --missing-text city=TEXT" in done.stderr


def test_a_row_at_which_the_model_fails_is_isolated(tmp_path: Path) -> None:
    model = models.picky(tmp_path / "picky.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("x\n" + "".join(f"{n % 10}\n" for n in range(500)) + "99\n7\n")
    predict_here(source, "-o", target, "--model", model, status=3)
    rows = read(target)
    assert [row["square"] for row in rows[:10]] == [f"{n * n}.0" for n in range(10)]
    assert rows[500]["error"].startswith(f"model_error: {source}, line 502: ")
    assert (rows[501]["square"], rows[501]["error"]) == ("49.0", "")


def test_all_formats_give_the_same_predictions(tmp_path: Path) -> None:
    source = flowers(tmp_path / "in.csv", "7,oops,1,1,1,x")
    rows = [
        {name: value if name in ("id", "note") else number(value) for name, value in row.items()}
        for row in read(source)
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    typed = [
        row | {"petal_width": row["petal_width"] if row["id"] != "7" else None} for row in rows
    ]
    parquet.write_table(pa.Table.from_pylist(typed), tmp_path / "in.parquet")
    found = {}
    for kind in ("csv", "jsonl", "parquet"):
        target = tmp_path / f"from-{kind}.jsonl"
        predict_here(tmp_path / f"in.{kind}", "-o", target, *IRIS, status=3)
        read_back = [json.loads(line) for line in target.read_text().splitlines()]
        found[kind] = [[row[name] for name in ADDED[:-1]] for row in read_back]
        assert [row["error"] is None for row in read_back] == [True, True, True, False]
    assert found["csv"] == found["jsonl"] == found["parquet"]


def test_a_stream_is_predicted_between_other_commands(tmp_path: Path) -> None:
    text = flowers(tmp_path / "in.csv").read_text()
    words = ("-", "-o", "-", "--input-format", "csv", "--output-format", "csv", "--keep", "id")
    done = predict(*words, *IRIS, given=text)
    assert [row["id"] for row in csv.DictReader(StringIO(done.stdout))] == ["000", "001", "002"]
    assert "3 rows in standard output" in done.stderr
    assert "ignored columns: note" in done.stderr


def test_columns_that_are_missing_are_all_told_before_anything_is_read(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,sepal_lenght,sepal_width,petal_length\n1,2,3,4\n")
    done = predict_here(source, "-o", target, *IRIS, status=1)
    both = (
        "the columns 'sepal_length' (nearest: 'sepal_lenght'), 'petal_width' are missing. The col"
    )
    assert both in done.stderr
    assert "hint: rename 'sepal_lenght' to 'sepal_length', add 'petal_width', or" in done.stderr
    assert not target.exists()


def test_a_decimal_comma_has_its_hint_behind_the_errors(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(
        'sepal_length,sepal_width,petal_length,petal_width\n"5,1","3,5","1,4","0,2"\n'
    )
    said = predict_here(source, "-o", target, *IRIS, status=3).stderr
    assert "expected a number with the decimal mark '.', got '5,1'\n" in said
    assert "hint: if the comma is the decimal mark, add --decimal ','\n" in said
    assert "--decimal" not in target.read_text()


def test_a_run_and_its_check_find_that_the_folder_of_the_output_is_missing(tmp_path: Path) -> None:
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "outputs/out.csv"
    for more in ((), ("--check",)):
        done = predict_here(source, "-o", target, *more, *IRIS, status=1)
        assert f"{target} cannot be written: No such file or directory" in done.stderr
        assert f"hint: create the folder: `mkdir -p {target.parent}`" in done.stderr
    predict_here(
        source, "-o", f"{tmp_path}/made/folder/", "--output-format", "csv", "--check", *IRIS
    )
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv"}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_check_warns_of_integers_that_the_model_cannot_tell_apart(
    tmp_path: Path, ending: str
) -> None:
    rows = [{"x": 0.1, "y": 1e39}, {"x": 16777216.0, "y": None}, {"x": 16777217.0, "y": 2.5}]
    source = tmp_path / f"in.{ending}"
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), source)
    elif ending == "jsonl":
        source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        source.write_text("x,y\n0.1,1e39\n16777216,\n16777217,2.5\n")
    model = models.doubling(tmp_path / "m.onnx")
    done = predict_here(source, "--check", "--model", model, "--columns", "x,y")
    assert done.stderr == "warning: x 16777217 becomes 16777216 as float32\n"


def test_a_row_has_the_same_prediction_alone_and_among_others(tmp_path: Path) -> None:
    source, alone = flowers(tmp_path / "in.csv"), tmp_path / "alone.csv"
    header, row, *_ = source.read_text().splitlines()
    alone.write_text(f"{header}\n{row}\n")
    source.write_text("\n".join([*source.read_text().splitlines(), *[row] * 1_000]) + "\n")
    for path in (source, alone):
        predict_here(path, "-o", f"{path}.out", "--output-format", "csv", *IRIS)
    [one] = read(tmp_path / "alone.csv.out")
    many = read(tmp_path / "in.csv.out")
    assert [many[0], *many[3:]] == [one] * 1_001


def test_the_unnamed_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(f",{','.join(NAMES)}\n7,5.1,3.5,1.4,0.2\n")
    predict_here(source, "-o", target, *IRIS)
    assert target.read_text().startswith(f",{','.join(NAMES)},label,")
    done = predict_here(source, "-o", target, *IRIS, "--keep", "none")
    assert target.read_text().startswith("label,")
    assert "ignored columns: ''\n" in done.stderr


def test_check_says_what_would_be_read_and_written(tmp_path: Path) -> None:
    source = flowers(tmp_path / "in.csv")
    done = predict_here(source, "--check", *IRIS)
    assert "reads: sepal_length (float32), " in done.stdout
    assert "not checked: the values of the rows, which the run checks" in done.stdout
    assert f"writes: id,{''}".replace(",", ", ") in done.stdout
    assert f"{', '.join(ADDED)}\nnot checked: " in done.stdout


def test_yesterdays_output_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("yesterday")
    source = flowers(tmp_path / "in.csv", "7,oops,1,1,1,x")
    done = predict_here(source, "-o", target, *IRIS, "--no-error-column", status=1)
    assert "1 of 4 rows have errors, and the limit is 0" in done.stderr
    assert f"{source}, line 5, column 'petal_width'" in done.stderr
    assert target.read_text() == "yesterday"
    predict_here(source, "-o", target, *IRIS, "--max-errors", "20%", status=1)
    predict_here(source, "-o", target, *IRIS, "--max-errors", "1", status=3)
    assert len(read(target)) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv"}


def test_ctrl_c_ends_a_run_within_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    model = models.slow(tmp_path / "slow.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("x\n" + "300000\n" * 500_000)
    with Command("predict", str(source), "-o", str(target), "--model", str(model)) as command:
        wait_for(lambda: len(list(tmp_path.iterdir())) > 2, "the beginning of the output")
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT, command.output
        assert "stopped: nothing was written" in command.output
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "slow.onnx"}


STOP_AT_IMPORT = """
import atexit, os, signal, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STOP_AT"]:
            del sys.meta_path[0]
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stop())
if os.environ["STOP_AT"] == "the end":
    atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
"""
MODULES = [
    "typer", "pydantic_core", "batchline.configurations", "numpy.linalg", "onnxruntime.capi",
    "pyarrow.lib",
    "sqlalchemy.engine", "batchline.scoring.local", "batchline.scoring.sql_sink",
]  # fmt: skip


def predict_until(folder: Path, moment: str, status: int) -> str:
    """Send SIGINT to a run on a query at a moment, and return its messages."""
    (folder / "sitecustomize.py").write_text(STOP_AT_IMPORT)
    values = ", ".join(f"1 AS {name}" for name in NAMES)
    words = ("--query", f"SELECT 1 AS id, {values}", "--into", "scores", "--id", "id")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    database = folder / "rows.db"
    database.touch()
    settings = {"DATABASE_URL": f"sqlite:///{database}", "STOP_AT": moment, "PYTHONPATH": path}
    return str(predict(*words, *IRIS, status=status, **settings).stderr)


@pytest.mark.parametrize("module", MODULES)
def test_ctrl_c_ends_a_run_with_a_word_whatever_is_imported_then(
    tmp_path: Path, module: str
) -> None:
    said = predict_until(tmp_path, module, 130)
    assert re.fullmatch("stopped(: nothing was written)?\n", said)


@pytest.mark.parametrize("module", ["typer", "pydantic_core", "batchline.configurations"])
def test_ctrl_c_while_the_options_are_read_ends_the_process_that_predicts_too(
    tmp_path: Path, module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STOP_AT_IMPORT)
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    # The messages end once no process can write to them any more.
    done = predict(source, "-o", target, *IRIS, status=130, STOP_AT=module, PYTHONPATH=path)
    assert re.fullmatch("stopped(: nothing was written)?\n", done.stderr)
    assert not target.exists()


WITHOUT_PYARROW = """
import importlib.util, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(name)

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *of: None if name == "pyarrow" else find(name, *of)
sys.meta_path.insert(0, Missing())
"""


def test_a_library_that_is_missing_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_PYARROW)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    said = predict(source, "-o", target, *IRIS, status=1, PYTHONPATH=path).stderr.splitlines()
    assert said[0] == "error: files need pyarrow, which cannot be imported"
    assert said[1].startswith("hint: run ")
    assert len(said) == 2


def test_wrong_options_end_the_process_that_would_predict(tmp_path: Path) -> None:
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    assert "--modle" in predict(source, "-o", target, "--modle", "m", status=2).stderr
    assert "No such" in predict(source, "-o", target, *IRIS, "--nul", "x", status=2).stderr
    done = predict(source, "-o", "-", *IRIS, "--resume", status=2)
    assert (done.stdout, target.exists()) == ("", False)


def test_ctrl_c_comes_too_late_for_a_run_that_is_complete(tmp_path: Path) -> None:
    assert predict_until(tmp_path, "the end", 0) == "1 row in the table scores\n"


def test_a_model_of_the_database_predicts_files_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    added = run_here(
        "models", "add", "flowers", str(IRIS_MODEL), "--labels", str(IRIS_LABELS),
        "--features", ",".join(NAMES), DATABASE_URL=url,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    words = (source, "-o", target, "--model-columns", "--rename", "label=species")
    predict_here(*words, "--model", "flowers@1", DATABASE_URL=url)
    rows = read(target)
    assert [(row["model"], row["version"]) for row in rows] == [("flowers", "1")] * 3
    assert [row["species"] for row in rows] == ["setosa", "virginica", "versicolor"]
    done = predict_here(*words, "--model", "flowers@2", status=1, DATABASE_URL=url)
    assert "the model flowers has no version 2" in done.stderr


def test_a_file_without_rows_has_an_output_without_rows(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(",".join(NAMES) + "\n")
    done = predict_here(source, "-o", target, *IRIS, "--json")
    assert json.loads(done.stdout)["rows"] == 0
    assert target.read_text() == ",".join([*NAMES, *ADDED]) + "\n"


def test_missing_values_and_strings_reach_the_model_as_onnxruntime_takes_them(
    tmp_path: Path,
) -> None:
    model = models.imputing(tmp_path / "people.onnx")
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("city,age,income,height\nOslo,47,1200.5,1.8\n,,,2\nRome,1,2,\n")
    words = (source, "-o", target, "--model", model, "--missing-text", "nowhere")
    predict_here(*words, status=3)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["town"] for row in rows] == ["Oslo", "nowhere", None]
    assert [row["sum"] for row in rows[:2]] == pytest.approx([47 + 1200.5 + 1.8, 40 + 1000 + 2])
    assert f"{source}, line 4, column 'height'" in rows[2]["error"]


def test_a_model_file_that_is_known_needs_no_database_and_no_second_validation(
    tmp_path: Path,
) -> None:
    source = flowers(tmp_path / "in.csv")
    predict(source, "-o", tmp_path / "first.csv", *IRIS)
    words = ["predict", source, "-o", tmp_path / "out.csv", *IRIS]
    unneeded = {"sqlalchemy", "structlog", "pandas.core", "batchline.ml.examination.examine"}
    assert not unneeded & imported(*words)


def imported(*words: object) -> set[str]:
    """Return the modules that all processes of a command import."""
    command = [sys.executable, "-X", "importtime", "-m", "batchline", *map(str, words)]
    done = subprocess.run(command, env=environment(), stderr=subprocess.PIPE, text=True, check=True)
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"typer", "onnxruntime"} <= names
    return names


def test_what_reads_options_is_not_imported_where_the_rows_are_predicted() -> None:
    """Both take a quarter of a second, in two processes at the same time."""
    code = "import sys, batchline.cli.predict_work; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {*ran.stdout.split()}
    assert {"onnxruntime", "pyarrow.compute", "batchline.scoring.local"} <= names
    assert not {"typer", "pydantic", "rich"} & names


def test_a_name_that_is_no_model_is_named_as_a_file_and_as_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, database = flowers(tmp_path / "in.csv"), f"sqlite:///{tmp_path / 'no.db'}"
    (tmp_path / "near.onnx").touch()
    words = (source, "-o", tmp_path / "out.csv", "--database-url", database)
    said = predict_here(*words, "--model", "near", status=1).stderr
    assert "there is no file near, and no database with models: the database" in said
    assert "hint: give the file near.onnx" in said


def test_options_that_could_not_be_followed_are_refused(tmp_path: Path) -> None:
    source, target = flowers(tmp_path / "in.csv"), tmp_path / "out.csv"
    words = (source, "-o", target)
    done = predict_here(*words, "--model", "iris.onx", status=1)
    assert "the model file iris.onx cannot be read" in done.stderr
    done = predict_here(*words, *IRIS, "--no-error-column", "--max-errors", "5", status=2)
    assert "--max-errors" in done.stderr
    done = predict_here(*words, "--model", "flowers", "--missing", "all", status=2)
    assert "batchline models add" in done.stderr
    done = predict_here(*words, *IRIS, "--max-actors", "3", status=2)
    assert "--max-actors: needs --engine ray" in done.stderr
    done = predict_here(*words, *IRIS, "--engine", "spark", status=2)
    assert "expected local or ray, got spark" in done.stderr
    done = predict_here(*words, *IRIS, "--query", "SELECT 1", status=2)
    assert "name one input: files or --query" in done.stderr
    done = predict_here("-o", target, *IRIS, "--query", "@no.sql", status=2)
    assert "no.sql cannot be read: No such file or directory" in done.stderr
    assert not target.exists()
