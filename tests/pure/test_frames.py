"""Tables in memory: the same library comes back, with the columns that the command adds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars
import pyarrow as pa
import pytest
from pyarrow import csv

import batchline
from batchline.constants import FILE_BLOCK_ROWS, IRIS_LABELS, IRIS_MODEL
from batchline.errors import ConfigurationError
from batchline.file_errors import InvalidColumns, NotWritten, TooManyErrors
from batchline.scoring.python_words import python_words
from tests import models

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
CLASSES = ["setosa", "versicolor", "virginica"]
ADDED = ["label", *(f"probability_{name}" for name in CLASSES), "error"]


PANDAS = Path(sys.prefix) / "pandas"
"""`make .venv/installed-dev` puts pandas here."""


def load() -> batchline.Model:
    return batchline.load_model(IRIS_MODEL, labels=IRIS_LABELS, columns=NAMES)


@pytest.fixture(scope="module")
def iris() -> batchline.Model:
    return load()


def table(rows: list[list[float]] = FLOWERS) -> pa.Table:
    """A table with an id, the four columns in another order than the model's, and a note."""
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    notes = [f"n {number}" for number in range(len(rows))]
    return pa.table({"id": range(len(rows)), **dict(reversed(columns.items())), "note": notes})


def probabilities(rows: list[list[float]]) -> list[list[float]]:
    """What ONNX Runtime itself gives."""
    session = onnxruntime.InferenceSession(IRIS_MODEL)
    found: Any = session.run(["probabilities"], {"X": np.array(rows, np.float32)})[0]
    return found.tolist()


def check(found: pa.Table, given: pa.Table, rows: list[list[float]]) -> None:
    assert found.column_names == [*given.column_names, *ADDED]
    assert found.select(given.column_names).to_pylist() == given.to_pylist()
    expected = probabilities(rows)
    own = np.stack([found[f"probability_{name}"].to_numpy() for name in CLASSES], axis=1)
    np.testing.assert_allclose(own, expected, rtol=1e-5)
    assert found["label"].to_pylist() == [CLASSES[int(np.argmax(row))] for row in expected]
    assert found["error"].null_count == len(rows)


# The libraries ---------------------------------------------------------------------------------


def test_a_table_of_pyarrow_comes_back_with_its_predictions(iris: batchline.Model) -> None:
    given = table()
    found = iris.predict(given)
    assert type(found) is pa.Table
    check(found, given, FLOWERS)
    kept, before = found["note"].chunk(0).buffers(), given["note"].chunk(0).buffers()
    assert [each and each.address for each in kept] == [each and each.address for each in before]


def test_a_record_batch_stays_one(iris: batchline.Model) -> None:
    [given] = table().to_batches()
    found = iris.predict(given)
    assert type(found) is pa.RecordBatch
    check(pa.table(found), table(), FLOWERS)


def test_a_reader_is_predicted_batch_by_batch_while_it_is_read(iris: batchline.Model) -> None:
    asked = []

    def batches() -> Any:
        for number in range(4):
            asked.append(number)
            yield table().to_batches()[0]

    given = pa.RecordBatchReader.from_batches(table().schema, batches())
    found = iris.predict(given)
    assert type(found) is pa.RecordBatchReader
    assert asked == []
    assert found.schema.names == [*table().column_names, *ADDED]
    check(pa.table(found.read_next_batch()), table(), FLOWERS)
    assert len(asked) < 3
    assert sum(batch.num_rows for batch in found) == 9


def test_any_table_that_exports_arrow_is_predicted(iris: batchline.Model) -> None:
    class Foreign:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return table().__arrow_c_stream__(requested_schema)

    check(iris.predict(Foreign()), table(), FLOWERS)


def test_a_frame_of_polars_comes_back_as_one(iris: batchline.Model) -> None:
    given = polars.DataFrame(table())
    found = iris.predict(given)
    assert type(found) is polars.DataFrame
    check(pa.table(found), pa.table(given), FLOWERS)
    assert iris.predict(given, keep=[]).columns == ADDED


def test_a_frame_of_pandas_comes_back_as_one_with_its_index_and_its_types() -> None:
    """In a process of its own: pyarrow imports pandas wherever it finds it, which is slow."""
    code = """if True:
        import pandas
        from tests.pure.test_frames import ADDED, load, table
        given = table().to_pandas().set_index(pandas.Index([7, 7, 9], name="key"))
        given["note"] = given["note"].astype("category")
        found = load().predict(given)
        assert type(found) is pandas.DataFrame
        assert list(found.columns) == [*given.columns, *ADDED]
        assert found.index.equals(given.index)
        assert (found.dtypes[: given.shape[1]] == given.dtypes).all()
        assert found["label"].tolist() == ["setosa", "virginica", "versicolor"]
        assert "label" not in given.columns
    """
    with_pandas(code)


def test_integers_and_booleans_stay_such_in_pandas_if_a_row_has_an_error(tmp_path: Path) -> None:
    code = f"""if True:
        import batchline, pandas
        from tests import models
        path = models.of_many_types("{tmp_path}/many.onnx")
        model = batchline.load_model(path)
        found = model.predict(pandas.DataFrame({{"x": [2.0**62, 3.0]}}), keep=[])
        assert (found.dtypes[:2] == ["int64", "bool"]).all(), found.dtypes
        found = model.predict(pandas.DataFrame({{"x": [2.0**62, None]}}), keep=[])
        assert (found.dtypes[:2] == ["Int64", "boolean"]).all(), found.dtypes
        assert found["whole"].tolist() == [2**62, pandas.NA]
        assert found["flag"].tolist() == [True, pandas.NA]
        assert found["inverse"].dtype == "float32", found.dtypes
    """
    with_pandas(code)


def test_a_stray_object_in_a_column_of_pandas_is_an_error_of_its_row(tmp_path: Path) -> None:
    code = f"""if True:
        import batchline, decimal, pandas
        from batchline.constants import FILE_BLOCK_ROWS
        from batchline.file_errors import InvalidColumns
        from tests import models

        def predict(kind, width, *values):
            path = models.doubling("{tmp_path}/doubling.onnx", width, kind=kind)
            frame = pandas.DataFrame({{"x": pandas.Series(values, dtype=object)}})
            found = batchline.load_model(path).predict(frame, keep=[])
            bad = found["error"].notna()
            numbers = [f"row {{row + 1}}," in found["error"][row] for row in bad[bad].index]
            assert all(numbers), found["error"]
            return found["doubled"][~bad].tolist(), found["error"][bad].tolist()

        good, bad = predict(models.FLOAT, 1, 2, "1", decimal.Decimal("4"), 8.0, [1], True, 2**70)
        assert good == [4.0, 8.0, 16.0, 2.0**71], good
        assert ["expected a number, got " + each in error for each, error in zip(
            ["'1'", "'[1]'", "'True'"], bad, strict=True)] == [True] * 3, bad
        good, bad = predict(models.INT64, 1, 2**53 + 1, 1.5, 2**64, None)
        assert good == [2**54 + 2], good
        assert len(bad) == 3 and "out_of_range" in bad[1], bad
        good, bad = predict(models.FLOAT, 2, [1, 2], "x", [1, "a"], [1], [3, 4])
        assert [list(each) for each in good] == [[2, 4], [6, 8]], good
        assert len(bad) == 3, bad
        for values in ([1] * FILE_BLOCK_ROWS + ["x"], ["x"] + [1] * FILE_BLOCK_ROWS):
            good, bad = predict(models.FLOAT, 1, *values)
            assert (len(good), len(bad)) == (FILE_BLOCK_ROWS, 1), bad
        path = models.doubling("{tmp_path}/doubling.onnx", 1)
        for values in (["1", "2"], [b"1", b"2"], [1j, 2j]):
            try:
                batchline.load_model(path).predict(pandas.DataFrame({{"x": values}}))
            except InvalidColumns as error:
                assert str(error).startswith("'x' must be float32") or "column x" in str(error)
            else:
                raise AssertionError(f"{{values}} are no floats")
    """
    with_pandas(code)


def with_pandas(code: str) -> None:
    path = os.pathsep.join([str(PANDAS), *filter(None, sys.path)])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)


# Rows ------------------------------------------------------------------------------------------


def test_rows_of_many_blocks_come_back_in_order(iris: batchline.Model) -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 8, (2 * FILE_BLOCK_ROWS + 5, 4)).round(2).tolist()
    check(iris.predict(table(rows)), table(rows), rows)


def test_a_table_without_rows_has_all_columns(iris: batchline.Model) -> None:
    found = iris.predict(table().slice(0, 0))
    assert (found.num_rows, found.column_names) == (0, [*table().column_names, *ADDED])


def test_a_row_that_cannot_be_predicted_has_its_reason(iris: batchline.Model) -> None:
    given = table([*FLOWERS, [5.0, float("nan"), 1.0, 1.0]])
    found = iris.predict(given)
    *others, error = found["error"].to_pylist()
    assert others == [None] * 3
    assert error.startswith("not_a_number: table, row 4, column 'sepal_width': the value is ")
    assert found["label"].to_pylist()[3] is None
    check(found.slice(0, 3), given.slice(0, 3), FLOWERS)


def test_a_row_at_which_the_model_fails_is_isolated(tmp_path: Path) -> None:
    model = batchline.load_model(models.picky(tmp_path / "picky.onnx"))
    found = model.predict(pa.table({"x": [3.0, 99.0, 7.0]}))
    assert found["square"].to_pylist() == [9.0, None, 49.0]
    assert found["error"].to_pylist()[1].startswith("model_error: table, row 2: ")


@pytest.mark.parametrize("options", [{"error_column": False}, {"max_errors": 0}])
def test_an_error_raises_if_none_is_allowed(iris: batchline.Model, options: Any) -> None:
    given = table([*FLOWERS, [5.0, float("nan"), 1.0, 1.0]])
    with pytest.raises(batchline.TooManyErrors, match="table, row 4, column 'sepal_width'"):
        iris.predict(given, **options)
    assert iris.predict(given, max_errors=0.5).num_rows == 4
    assert iris.predict(table(), error_column=False).column_names[-1] == "probability_virginica"


def test_numbers_and_texts_of_other_types_are_converted_exactly(iris: batchline.Model) -> None:
    given = table()
    for place, name in enumerate(given.column_names[1:5], 1):
        wide = given[name].cast(pa.float64()) if place % 2 else given[name].cast(pa.float32())
        given = given.set_column(place, name, wide)
    check(iris.predict(given), given, FLOWERS)


def test_a_model_is_shown_in_a_line(iris: batchline.Model) -> None:
    assert repr(iris) == f"<Model iris, version {iris.version}, reads 4 columns>"


# Columns ---------------------------------------------------------------------------------------


def test_columns_are_kept_and_renamed_as_asked(iris: batchline.Model) -> None:
    found = iris.predict(table(), keep=["id"], rename={"label": "class"}, model_columns=True)
    assert found.column_names == ["id", "class", *ADDED[1:], "model", "version"]
    assert found["model"].to_pylist() == ["iris"] * 3
    assert found["version"].to_pylist() == [iris.version] * 3


def test_wrong_columns_are_named_all_at_once(iris: batchline.Model) -> None:
    given = table().drop_columns(["sepal_width", "petal_width"])
    with pytest.raises(InvalidColumns, match=r"'sepal_width'.*, 'petal_width'.* are missing"):
        iris.predict(given)
    texts = table().drop_columns(["sepal_width"]).append_column("sepal_width", [["a", "b", "c"]])
    with pytest.raises(InvalidColumns, match="'sepal_width' must be float32"):
        iris.predict(texts)
    with pytest.raises(InvalidColumns, match="two columns would be named 'label'"):
        iris.predict(table().append_column("label", [["a", "b", "c"]]))
    with pytest.raises(InvalidColumns, match="'other' is missing"):
        iris.predict(table(), keep=["other"])
    with pytest.raises(ConfigurationError, match="no added column is named lable"):
        iris.predict(table(), rename={"lable": "class"})


def test_a_string_is_no_list_of_names(iris: batchline.Model) -> None:
    with pytest.raises(TypeError, match=r"got the string 'none'. None keeps all columns, and \[\]"):
        iris.predict(table(), keep="none")
    with pytest.raises(TypeError, match="columns must be a list of names, got the string 'a,b'"):
        batchline.load_model(IRIS_MODEL, columns="a,b")


def test_a_misspelt_option_is_refused_with_the_nearest_one(
    tmp_path: Path, iris: batchline.Model
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    csv.write_csv(table(), source)
    misspelt: Any = {"max_error": 0}
    with pytest.raises(TypeError, match=r"no option max_error, did you mean max_errors\?"):
        iris.predict(table(), **misspelt)
    with pytest.raises(TypeError, match=r"no option max_error, did you mean max_errors\?"):
        iris.predict_file(source, target, **misspelt)
    unknown: Any = {"xyz": 1}
    with pytest.raises(TypeError, match="predict has no option xyz, only keep, add, rename, "):
        iris.predict(table(), **unknown)
    misspelt = {"missin": ["all"]}
    for call in (
        lambda: batchline.load_model(IRIS_MODEL, **misspelt),
        lambda: batchline.predict_file(source, target, model=IRIS_MODEL, **misspelt),
        lambda: batchline.predict_file(source, target, model=iris, **misspelt),
    ):
        with pytest.raises(TypeError, match=r"no option missin, did you mean missing\?"):
            call()
    assert not target.exists()


def test_a_limit_of_errors_needs_their_reasons(iris: batchline.Model) -> None:
    with pytest.raises(TypeError, match="max_errors needs the column error, which has the reasons"):
        iris.predict(table(), max_errors=5, error_column=False)


def test_the_text_for_missing_values_is_a_string_or_a_list_of_them(tmp_path: Path) -> None:
    path = models.imputing(tmp_path / "m.onnx")
    numbers = {name: [1.0, 2.0] for name in ("age", "income", "height")}
    customers = pa.table(numbers | {"city": ["Oslo", None]})
    for text in ("unknown", ["unknown"], ["city=unknown"]):
        found = batchline.load_model(path, missing_text=text).predict(customers, keep=[])
        assert found["town"].to_pylist() == ["Oslo", "unknown"]


@pytest.mark.parametrize(
    ("of_the_command", "in_python"),
    [
        ("raise --max-errors", "raise max_errors"),
        ("give it: add --sample ROWS.json", "give it: add sample=ROWS.json"),
        ("name them with --missing", "name them with missing"),
        ("--rename OLD=NEW, or to --keep", "rename=OLD=NEW, or to keep"),
        ("add --delimiter '\\t'", r"add read=ReadOptions(delimiter='\t')"),
        ("add --encoding utf-16", "add read=ReadOptions(encoding='utf-16')"),
        ("add --encoding with that", "add read=ReadOptions(encoding='…') with that"),
        ("add --output-format csv", "add write=WriteOptions(format='csv')"),
    ],
)  # fmt: skip
def test_an_error_in_python_names_arguments_instead_of_options(
    of_the_command: str, in_python: str
) -> None:
    with pytest.raises(ConfigurationError) as raised, python_words():
        raise ConfigurationError(of_the_command, hint=of_the_command)
    assert [str(raised.value), raised.value.hint] == [in_python, in_python]


def test_something_else_than_a_table_is_refused(iris: batchline.Model) -> None:
    with pytest.raises(TypeError, match=r"got builtins\.list"):
        iris.predict(FLOWERS)


# Files -----------------------------------------------------------------------------------------


def test_a_file_is_predicted_in_one_call(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    csv.write_csv(table(), source)
    with source.open("a") as file:
        file.write("7,oops,1,1,1,x\n")
    done = batchline.predict_file(
        source, target, model=IRIS_MODEL, labels=CLASSES, columns=NAMES, keep=["id", "note"]
    )
    assert (done.rows, done.predicted, done.failed) == (4, 3, 1)
    assert done.first_errors[0].column == "petal_width"
    found = csv.read_csv(target)
    assert found.column_names == ["id", "note", *ADDED]
    assert found["label"].to_pylist() == ["setosa", "virginica", "versicolor", ""]


def test_nothing_is_written_if_too_many_rows_have_errors(
    tmp_path: Path, iris: batchline.Model
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(f"{','.join(NAMES)}\n1,2,3,oops\n")
    with pytest.raises(TooManyErrors) as raised:
        batchline.predict_file(source, target, model=iris, max_errors=0)
    assert raised.value.hint == "correct the rows, or raise max_errors"
    assert not target.exists()
    with pytest.raises(NotWritten, match="is the input"):
        batchline.predict_file(source, source, model=iris)
    with pytest.raises(TypeError, match="takes no labels"):
        batchline.predict_file(source, target, model=iris, labels=CLASSES)


def test_importing_batchline_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import batchline; "
    code += "print([each for each in set(sys.modules) - before])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "['batchline']\n"
