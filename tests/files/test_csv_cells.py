"""The rules for cells that pyarrow refused agree with pyarrow on all cells that it accepts."""

import math

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv

from batchline.files import Kind
from batchline.files.csv_cells import Marks, convert

cells = (
    st.text("0123456789+-.eExXaf \tnNiI", max_size=8)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.floats(width=32).map(str)
)


def of_pyarrow(cell: str, kind: Kind) -> tuple[bool, object]:
    """Return whether pyarrow accepts a cell, and its value."""
    try:
        found = csv.read_csv(
            pa.BufferReader(f"{cell},\n".encode()),
            csv.ReadOptions(column_names=["x", "y"]),
            convert_options=csv.ConvertOptions(
                column_types={"x": kind.value_type}, null_values=[""]
            ),
        )
    except pa.ArrowInvalid:
        return False, None
    return True, found["x"][0].as_py()


@given(
    cells,
    st.sampled_from(["float32", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool"]),
)
@example("-0", "uint8")
@example(".0", "int8")
@example("-.0", "uint64")
@example(" ", "float64")
@example(" 1 ", "bool")
@example("+1", "int8")
@example("1e5", "int32")
def test_a_cell_that_pyarrow_accepts_has_the_value_that_pyarrow_gives(
    cell: str, dtype: str
) -> None:
    kind = Kind(dtype)
    accepted, expected = of_pyarrow(cell, kind)
    faults: list[str] = []
    found = convert(pa.array([cell]), kind, Marks(), lambda row, code, *_: faults.append(code))
    if "x" in cell.lower():
        assert found[0].as_py() is None  # pyarrow takes 0xFF for -1
    elif accepted and (not isinstance(expected, float) or math.isfinite(expected)):
        assert not faults
        assert str(found[0].as_py()) == str(expected)  # which tells 0.0 from -0.0
    assert bool(faults) <= (found[0].as_py() is None)


@pytest.mark.parametrize("number", ["1.234.567,5", "-1.000", "1234567,5", "0,5", "1.000,"])
def test_a_thousands_mark_is_optional(number: str) -> None:
    plain = float(number.replace(".", "").replace(",", "."))
    found = convert(pa.array([number]), Kind("float64"), Marks(",", "."), pytest.fail)
    assert found.to_pylist() == [plain]


@pytest.mark.parametrize("number", ["1.23", "12.34.567", "1234.567", "1.2345", ".123", "1..000"])
def test_a_thousands_mark_stands_between_groups_of_three_digits(number: str) -> None:
    faults: list[str] = []
    convert(
        pa.array([number]),
        Kind("float64"),
        Marks(",", "."),
        lambda r, code, *_: faults.append(code),
    )
    assert faults == ["not_a_number"]


@pytest.mark.parametrize("mark", [" ", "'", "\u00a0", "_"])
def test_other_thousands_marks(mark: str) -> None:
    found = convert(pa.array([f"1{mark}000.5"]), Kind("float64"), Marks(".", mark), pytest.fail)
    assert found.to_pylist() == [1000.5]


def test_a_number_of_any_length_takes_no_more_than_a_moment() -> None:
    faults: list[str] = []
    numbers = ["9" * 100_000, "1e999999999", "1e-999999999", "-1E+999999999"]
    convert(pa.array(numbers), Kind("int64"), Marks(), lambda r, code, *_: faults.append(code))
    assert faults == ["out_of_range", "out_of_range", "not_an_integer", "out_of_range"]


@pytest.mark.parametrize("digits", [19, 20, 10_000])
def test_an_exponent_may_have_any_number_of_digits(digits: int) -> None:
    big, faults = "9" * digits, list[str]()
    few, many = f"0.{'0' * 99}1", f"1{'0' * 99}"
    numbers = [f"{few}e{big}", f"-1E+{big}", f"{many}e-{big}", f"0e{big}", f"-0.0e-{big}"]
    found = convert(
        pa.array(numbers), Kind("int64"), Marks(), lambda row, code, *_: faults.append(code)
    )
    assert faults == ["out_of_range", "out_of_range", "not_an_integer"]
    assert found.to_pylist() == [None, None, None, 0, 0]
