"""What is wrong with rows, in the order in which they are read."""

from math import inf, nan

import pytest

from batchline.constants import MAX_REPORTED_FAULTS
from batchline.ml.signature import Signature

IRIS = Signature("x", "float32", (4,), ("a", "b"))
IMAGE = Signature("x", "float32", (2, 3))
COUNTS = Signature("x", "int64", (2,))
DOUBLES = Signature("x", "float64", (2,))


def codes(signature: Signature, data: object) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in signature.faults(data)]


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        (IRIS, [[5.1, 3.5, 1.4, 0.2]]),
        (IRIS, [[5, 3, 1, 0], [0.0, -0.0, 1e38, -1e38]]),
        (IMAGE, [[[1, 2, 3], [4.0, 5, 6]]]),
        (COUNTS, [[-(2**63), 2**63 - 1]]),
        (DOUBLES, [[1.7e308, 1.7e308], [-1.7e308, 10**300]]),
    ],
)
def test_good_rows_have_no_faults(signature: Signature, data: object) -> None:
    assert codes(signature, data) == []


@pytest.mark.parametrize(
    ("signature", "data", "expected"),
    [
        (IRIS, [[1, 2, 3, nan]], [("/0/3", "not_finite")]),
        (IRIS, [[nan, 2, 3, 4]], [("/0/0", "not_finite")]),
        (IRIS, [[inf, 2, 3, -inf]], [("/0/0", "not_finite"), ("/0/3", "not_finite")]),
        (IRIS, [[1, 2, 3, True]], [("/0/3", "not_a_number")]),
        (IRIS, [[1, 2, 3, 3.41e38]], [("/0/3", "out_of_range")]),
        (IRIS, "rows", [("", "wrong_shape")]),
        (IRIS, [], [("", "no_rows")]),
        (IMAGE, [[[1, 2, 3]]], [("/0", "wrong_width")]),
        (IMAGE, [[[1, 2, 3], [4, 5]]], [("/0/1", "wrong_width")]),
        (IMAGE, [[[1, 2, 3], [4, 5, "6"]]], [("/0/1/2", "not_a_number")]),
        (IMAGE, [[[1, 2, 3], 4]], [("/0/1", "wrong_shape")]),
        (COUNTS, [[1, 2.0]], [("/0/1", "not_an_integer")]),
        (COUNTS, [[1, 2**63]], [("/0/1", "out_of_range")]),
        (DOUBLES, [[1.5, 10**309]], [("/0/1", "out_of_range")]),
        (DOUBLES, [[1.5, inf]], [("/0/1", "not_finite")]),
    ],
)
def test_each_fault_has_its_place_and_its_kind(
    signature: Signature, data: object, expected: list[tuple[str, str]]
) -> None:
    assert codes(signature, data) == expected


def test_only_the_first_faults_are_listed() -> None:
    assert len(IRIS.faults([[None] * 4] * 1_000)) == MAX_REPORTED_FAULTS


def test_a_signature_survives_its_storage() -> None:
    for signature in (IRIS, IMAGE, COUNTS):
        assert Signature.from_json(signature.to_json()) == signature
