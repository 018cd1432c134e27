"""What holds in the same way for all formats."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchline.file_errors import InvalidColumns
from tests.files.reading import FLOAT, INTEGER, read
from tests.files.writing import copy

FORMATS = ["csv", "jsonl", "parquet", "csv.gz", "jsonl.zst"]
KEYS = ["007", "a,b", "", 'say "x"', "é"]


def source(folder: Path, ending: str) -> Path:
    """Make a file with the columns `key`, `x` and `note`, in one row of which `x` is 1.5."""
    path = folder / f"in.{ending}"
    rows = [{"key": key, "x": n or 1.5, "note": "n"} for n, key in enumerate(KEYS)]
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    plain = folder / "plain"
    if ending.startswith("jsonl"):
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with plain.open("w", newline="") as text:
            writer = csv.DictWriter(text, ["key", "x", "note"], quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    compression = {"gz": "gzip", "zst": "zstd"}.get(ending.rpartition(".")[2])
    with pa.output_stream(path, compression=compression) as stream:
        stream.write(plain.read_bytes())
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_each_missing_column_has_the_nearest_name_in_any_case(tmp_path: Path, ending: str) -> None:
    path, row = tmp_path / f"a.{ending}", {"AGE": 1.0, "Incme ": 2.0, "id": 3.0}
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_text("AGE,Incme ,id\n1,2,3\n" if ending == "csv" else json.dumps(row))
    with pytest.raises(InvalidColumns) as found:
        read(path, age=FLOAT, income=FLOAT, AGE=FLOAT, height=FLOAT)
    [fault] = found.value.faults
    # The column AGE has another use, so it is not suggested for age.
    assert "s 'age', 'income' (nearest: 'Incme '), 'height' are missing" in fault.detail
    assert found.value.hint.startswith("rename 'Incme ' to 'income', add 'age', add 'height', or")
    with pytest.raises(InvalidColumns, match=r"'age' \(nearest: 'AGE'\) is missing"):
        read(path, age=FLOAT)


@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("out_of", FORMATS)
def test_a_chosen_column_comes_out_of_each_format_into_each(
    tmp_path: Path, out_of: str, into: str
) -> None:
    copy(source(tmp_path, out_of), tmp_path / f"out.{into}", keep=["key"])
    found = read(tmp_path / f"out.{into}")
    assert found.kept == {"key": KEYS, "label": ["new"] * 5}


@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("out_of", FORMATS)
def test_no_column_of_each_format_needs_to_be_kept(tmp_path: Path, out_of: str, into: str) -> None:
    copy(source(tmp_path, out_of), tmp_path / f"out.{into}", keep=[])
    assert read(tmp_path / f"out.{into}").kept == {"label": ["new"] * 5}


@pytest.mark.parametrize("out_of", FORMATS)
def test_a_bad_row_has_the_same_error_in_each_format(tmp_path: Path, out_of: str) -> None:
    found = read(source(tmp_path, out_of), x=INTEGER)
    assert found.values == {"x": [None, 1, 2, 3, 4]}
    (error,) = found.errors
    assert (error.code, error.row, error.column, error.value) == ("not_an_integer", 1, "x", "1.5")
    assert error.detail == "expected an integer"


@pytest.mark.parametrize("out_of", FORMATS)
def test_a_column_that_is_not_there_is_an_error_before_the_first_row(
    tmp_path: Path, out_of: str
) -> None:
    path = source(tmp_path, out_of)
    with pytest.raises(InvalidColumns, match="'z'"):
        read(path, z=FLOAT)
    if not out_of.startswith("jsonl"):
        with pytest.raises(InvalidColumns, match="'z' is missing and cannot be kept"):
            copy(path, tmp_path / f"out.{out_of}", keep=["key", "z"])


@pytest.mark.parametrize("into", FORMATS)
def test_a_missing_text_and_an_empty_one_stay_apart(tmp_path: Path, into: str) -> None:
    values: dict[str, Any] = {"label": ["", None, "NA", "null", "x"]}
    copy(source(tmp_path, "csv"), tmp_path / f"out.{into}", values=values)
    assert read(tmp_path / f"out.{into}").kept["label"] == values["label"]
