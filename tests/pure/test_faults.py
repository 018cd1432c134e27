"""What is wrong with rows, in the order in which they are read."""

import json
from math import inf, nan

import pytest

from batchline.constants import MAX_REPORTED_FAULTS
from batchline.errors import SchemaNewer
from batchline.ml.faults import faults
from batchline.ml.inputs import Input
from batchline.ml.signature import SIGNATURE_FORMAT, Output, Signature
from batchline.registry.version import parse_signature, signature_text


def one(dtype: str, *shape: int | str, labels: tuple[str, ...] | None = None) -> Signature:
    return Signature((Input("x", dtype, shape),), (Output("y", "float32"),), labels)


IRIS = one("float32", 4, labels=("a", "b"))
IMAGE = one("float32", 2, 3)
COUNTS = one("int64", 2)
DOUBLES = one("float64", 2)
HALVES = one("float16", 1)
BYTES = one("uint8", 1)
FLAGS = one("bool", 1)
WORDS = one("str", 1)
SERIES = one("float32", "n", 2)
SCALARS = one("float32")
LINES = one("float32", "n")
TWO = Signature((Input("a/b", "int64", ("n",)), Input("mask", "int64", ("n",))))
SOUND = Signature((Input("x", "float32", ("",)), Input("rate", "int64", (), per_item=True)))


def codes(signature: Signature, data: object) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in faults(data, signature)]


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        (IRIS, [[5.1, 3.5, 1.4, 0.2]]),
        (IRIS, [[5, 3, 1, 0], [0.0, -0.0, 1e38, -1e38]]),
        (IMAGE, [[[1, 2, 3], [4.0, 5, 6]]]),
        (COUNTS, [[-(2**63), 2**63 - 1]]),
        (DOUBLES, [[1.7e308, 1.7e308], [-1.7e308, 10**300]]),
        (HALVES, [[65_504]]),
        (BYTES, [[0], [255]]),
        (FLAGS, [[True], [False]]),
        (WORDS, [[""], ["é"]]),
        (SERIES, [[[1, 2]], [[1, 2], [3, 4]]]),
        (SCALARS, [1, 2.5]),
        (IRIS, {"x": [[1, 2, 3, 4]]}),
        (TWO, {"mask": [[1], [1, 0]], "a/b": [[7], [8, 9]]}),
        (SOUND, {"x": [[0.1], [0.1, 0.2]], "rate": 16_000}),
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
        (COUNTS, [[1, 2.5]], [("/0/1", "not_an_integer")]),
        (COUNTS, [[1, 2**63]], [("/0/1", "out_of_range")]),
        (DOUBLES, [[1.5, 10**309]], [("/0/1", "out_of_range")]),
        (DOUBLES, [[1.5, inf]], [("/0/1", "not_finite")]),
        (HALVES, [[65_520]], [("/0/0", "out_of_range")]),
        (BYTES, [[-1], [256]], [("/0/0", "out_of_range"), ("/1/0", "out_of_range")]),
        (BYTES, [[True]], [("/0/0", "not_a_number")]),
        (FLAGS, [[1], ["true"]], [("/0/0", "not_a_bool"), ("/1/0", "not_a_bool")]),
        (
            WORDS,
            [[1], [None], [["a"]]],
            [("/0/0", "not_a_text"), ("/1/0", "not_a_text"), ("/2/0", "nested_too_deep")],
        ),
        (SERIES, [[]], [("/0", "wrong_width")]),
        (SERIES, [[[1, 2], [3]]], [("/0/1", "wrong_width")]),
        (SCALARS, [[1]], [("/0", "nested_too_deep")]),
        (IRIS, {"y": [[1, 2, 3, 4]]}, [("/x", "missing_input"), ("/y", "unknown_input")]),
        (IRIS, {"x": [[1, 2, 3]]}, [("/x/0", "wrong_width")]),
        (TWO, [[1]], [("", "wrong_shape")]),
        (TWO, {"a/b": [[1]]}, [("/mask", "missing_input")]),
        (TWO, {"a/b": [[1]], "mask": [[1], [1]]}, [("", "wrong_row_count")]),
        (TWO, {"a/b": [[1], [1, "x"]], "mask": [[1], [1, 1]]}, [("/a~1b/1/1", "not_a_number")]),
        (TWO, {"a/b": [[1], [1, 1]], "mask": [[1], [1]]}, [("/mask/1", "axes_differ")]),
        (TWO, {"a/b": [[1, 1]], "mask": [[1]]}, [("/mask/0", "axes_differ")]),
        (LINES, [[]], [("/0", "wrong_width")]),
        (SOUND, {"x": [[0.1]], "rate": [1]}, [("/rate", "nested_too_deep")]),
        (SOUND, {"x": [], "rate": 1}, [("/x", "no_rows")]),
        (SOUND, {"x": [[1]], "rate": "\ud800"}, [("/rate", "not_a_number")]),
    ],
)
def test_each_fault_has_its_place_and_its_kind(
    signature: Signature, data: object, expected: list[tuple[str, str]]
) -> None:
    assert codes(signature, data) == expected


def test_only_the_first_faults_are_listed() -> None:
    assert len(faults([[None] * 4] * 1_000, IRIS)) == MAX_REPORTED_FAULTS


def test_many_unknown_names_take_no_longer_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"feature_{number}" for number in range(2_000))
    wide = Signature((Input("x", "float32", (2_000,)),), features=names)
    compared: list[str] = []
    monkeypatch.setattr(
        "batchline.ml.faults.get_close_matches",
        lambda name, among, **_: compared.extend([name] * len(among)) or [],
    )
    record = dict.fromkeys(names, 1) | {f"featur_{number}": 1 for number in range(1_000)}
    assert len(faults(record, wide)) == MAX_REPORTED_FAULTS
    assert len(faults(record, IRIS)) == MAX_REPORTED_FAULTS
    assert len(compared) <= MAX_REPORTED_FAULTS


def test_a_sentence_about_many_columns_is_short() -> None:
    names = tuple(f"feature_{number}" for number in range(2_000))
    wide = Signature((Input("x", "float32", (2_000,)),), features=names)
    columns = {name: [1] * (1 + place % 100) for place, name in enumerate(names)}
    (fault,) = faults(columns, wide)
    assert "got 1 for feature_0, 2 for feature_1, 3" in fault.detail
    assert len(fault.detail) < 1_000


def test_a_signature_survives_its_storage() -> None:
    for signature in (IRIS, SERIES, TWO, SOUND):
        assert Signature.from_json(signature.to_json()) == signature


def test_a_stored_signature_has_a_format_and_one_of_a_newer_batchline_is_refused() -> None:
    stored = json.loads(signature_text(IRIS))
    assert stored["format"] == SIGNATURE_FORMAT
    assert Signature.from_json(parse_signature(json.dumps(stored))) == IRIS
    del stored["format"]  # as the first versions stored it
    assert Signature.from_json(parse_signature(json.dumps(stored))) == IRIS
    with pytest.raises(SchemaNewer, match="format 99"):
        parse_signature(json.dumps(stored | {"format": 99}))
