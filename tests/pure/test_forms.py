"""Rows in any form: lists, records, columns, inputs by name."""

from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchline.ml.data_loader import load_batch
from batchline.ml.faults import faults
from batchline.ml.forms import accepts, read, split_rows
from batchline.ml.inputs import FLOATS, INTEGERS, Input
from batchline.ml.rows import RowTensors
from batchline.ml.signature import Signature
from batchline.ml.table import Column, Table, tensors

PERSON = Signature((Input("age", "float32", (1,)), Input("job", "str", (1,))))
SCALARS = Signature((Input("age", "int64", ()), Input("score", "float64", ())))
WIDE = Signature((Input("x", "float32", (3,)),), features=("age", "income", "rate"))
PLAIN = Signature((Input("x", "float32", (2,)),))
SINGLE = Signature((Input("x", "int32", (1,)),))
GAPS = Signature(
    (Input("x", "float32", (3,), missing=(True, False, True)),), features=("age", "income", "rate")
)
MISSING = Signature(
    (
        Input("age", "float32", (1,), missing=(True,)),
        Input("job", "str", (1,), missing_text="?"),
        Input("visits", "int64", (1,)),
    )
)
TOKENS = Signature((Input("ids", "int64", ("n",)), Input("mask", "bool", ("n",))))
SOUND = Signature((Input("x", "float32", ("",)), Input("rate", "int64", (), per_item=True)))
UNKNOWN, NAN = "unknown_input", "not_a_number"
PICTURE = Signature((Input("x", "uint8", (2, 2)),))


def loaded(data: Any, signature: Signature) -> dict[str, list[Any]]:
    found = read([data], signature)
    assert found is not None, faults(data, signature)
    rows, good = tensors(found[0], signature)
    assert good is None
    assert found[1] == [len(rows)]
    return {name: tensor.tolist() for name, tensor in rows.tensors.items()}


@pytest.mark.parametrize(
    "data",
    [
        [{"age": 47, "job": "clerk"}, {"job": "nurse", "age": 50.5}],
        [{"age": [47], "job": ["clerk"]}, {"age": [50.5], "job": ["nurse"]}],
        {"age": [47, 50.5], "job": ["clerk", "nurse"]},
        {"age": [[47], [50.5]], "job": [["clerk"], ["nurse"]]},
        {"job": ["clerk", "nurse"], "age": [[47], [50.5]]},
    ],
)
def test_records_columns_and_inputs_by_name_are_the_same_rows(data: Any) -> None:
    assert loaded(data, PERSON) == {"age": [[47], [50.5]], "job": [["clerk"], ["nurse"]]}


@pytest.mark.parametrize(
    "data",
    [
        [[1, 2, 3], [4, 5, 6]],
        [{"rate": 3, "age": 1, "income": 2}, {"age": 4, "income": 5, "rate": 6}],
        {"income": [2, 5], "age": [1, 4], "rate": [3, 6]},
        {"x": [[1, 2, 3], [4, 5, 6]]},
    ],
)
def test_the_features_of_one_wide_input_have_names_in_any_order(data: Any) -> None:
    assert loaded(data, WIDE) == {"x": [[1, 2, 3], [4, 5, 6]]}


@pytest.mark.parametrize(
    ("signature", "data", "expected"),
    [
        (PERSON, {"age": 47, "job": "clerk"}, {"age": [[47]], "job": [["clerk"]]}),
        (PERSON, {"age": [47], "job": ["clerk"]}, {"age": [[47]], "job": [["clerk"]]}),
        (WIDE, {"age": 1, "income": 2, "rate": 3}, {"x": [[1, 2, 3]]}),
        (SCALARS, {"age": 47.0, "score": 1}, {"age": [47], "score": [1]}),
        (SCALARS, {"age": [47], "score": [1]}, {"age": [47], "score": [1]}),
        (PLAIN, [{"x": [1, 2]}], {"x": [[1, 2]]}),
        (PLAIN, {"x": [1, 2]}, {"x": [[1, 2]]}),
        (SINGLE, [7, 8.0], {"x": [[7], [8]]}),
        (SINGLE, {"x": 7}, {"x": [[7]]}),
        (SINGLE, {"x": [7, 8]}, {"x": [[7], [8]]}),
        (TOKENS, [{"ids": [1, 2], "mask": [True, False]}], {"ids": [[1, 2]], "mask": [[1, 0]]}),
        (TOKENS, {"ids": [1, 2], "mask": [True, False]}, {"ids": [[1, 2]], "mask": [[1, 0]]}),
        (PICTURE, {"x": [[1, 2], [3, 4]]}, {"x": [[[1, 2], [3, 4]]]}),
    ],
)
def test_one_record_is_one_row(signature: Signature, data: Any, expected: Any) -> None:
    assert loaded(data, signature) == expected


def test_a_feature_may_have_the_name_of_the_input() -> None:
    odd = Signature((Input("x", "float32", (2,)),), features=("x", "y"))
    for data in ({"x": 1, "y": 2}, {"x": [1], "y": [2]}, {"x": [[1, 2]]}, [[1, 2]]):
        assert loaded(data, odd) == {"x": [[1, 2]]}
    lone = Signature((Input("x", "float32", (1,)),), features=("x",))
    for data in ({"x": 1}, {"x": [1]}, {"x": [[1]]}, [{"x": 1}], [[1]], [1]):
        assert loaded(data, lone) == {"x": [[1]]}


def test_a_missing_value_is_nan_for_the_model_only_if_that_feature_may_be_missing() -> None:
    for data in (
        [[None, 2, None]],
        [{"age": None, "income": 2, "rate": nan}],
        {"age": [None], "income": [2], "rate": [None]},
    ):
        assert str(loaded(data, GAPS)) == "{'x': [[nan, 2.0, nan]]}"
    for data, pointer in (
        ([[1, None, 3]], "/0/1"),
        ([{"age": None, "income": None, "rate": 1}], "/0/income"),
        ({"age": 1, "income": nan, "rate": 1}, "/income"),
        ({"age": [1, 1], "income": [1, None], "rate": [1, 1]}, "/income/1"),
    ):
        assert [fault.pointer for fault in faults(data, GAPS)] == [pointer]
        assert "--missing" in faults(data, GAPS)[0].hint


def test_a_missing_string_is_the_word_that_the_model_knows_and_an_integer_is_never_missing() -> (
    None
):
    row = {"age": None, "job": None, "visits": 3}
    assert str(loaded(row, MISSING)) == "{'age': [[nan]], 'job': [['?']], 'visits': [[3]]}"
    assert [f.pointer for f in faults(row | {"visits": None}, MISSING)] == ["/visits"]
    (fault,) = faults({"age": 1, "job": None}, PERSON)
    assert (fault.pointer, fault.code) == ("/job", "not_a_text")
    assert "--missing-text" in fault.hint
    flag = Signature((Input("flag", "bool", (1,), missing_text="?"),))
    assert not accepts([[None] * 9], flag)


@pytest.mark.parametrize(
    ("signature", "data", "expected"),
    [
        (PERSON, [{"agee": 1, "job": "a"}], [("/0/age", "missing_input"), ("/0/agee", UNKNOWN)]),
        (PERSON, [{"age": 1, "job": "a"}, {"age": 1}], [("/1/job", "missing_input")]),
        (PERSON, [{"age": 1, "job": "a"}, 7], [("/1", "wrong_shape")]),
        (PERSON, [{"age": "47", "job": "a"}], [("/0/age", "not_a_number")]),
        (PERSON, {"age": 47, "job": 1}, [("/job", "not_a_text")]),
        (PERSON, {"age": [47, 48], "job": ["a"]}, [("", "wrong_row_count")]),
        (PERSON, {"age": [47, "b"], "job": ["a", "c"]}, [("/age/1", "not_a_number")]),
        (PERSON, {"age": 47, "job": ["a", "b"]}, [("/job", "wrong_width")]),
        (PERSON, {"age": [], "job": []}, [("/age", "no_rows")]),
        (PERSON, [], [("", "wrong_shape")]),
        (PERSON, {}, [("/age", "missing_input"), ("/job", "missing_input")]),
        (WIDE, [{"age": 1, "income": 2}], [("/0/rate", "missing_input")]),
        (WIDE, {"age": 1, "income": [2], "rate": 3}, [("/income", "nested_too_deep")]),
        (WIDE, {"age": [1], "income": 2, "rate": [3]}, [("/income", "wrong_shape")]),
        (WIDE, {"age": [1], "income": [2], "rate": [3, 4]}, [("", "wrong_row_count")]),
        (WIDE, [{"age": 1, "income": True, "rate": {}}], [("/0/income", NAN), ("/0/rate", NAN)]),
        (WIDE, [[1, 2, "3"]], [("/0/2", "not_a_number")]),
        (SCALARS, {"age": 47.5, "score": 1}, [("/age", "not_an_integer")]),
        (SCALARS, {"age": 2**63, "score": 1}, [("/age", "out_of_range")]),
        (SCALARS, {"age": float(2**63), "score": 1}, [("/age", "out_of_range")]),
        (SOUND, [{"x": [1], "rate": 1}], [("", "wrong_shape")]),
    ],
)  # fmt: skip
def test_each_fault_of_a_record_or_a_column_names_the_feature(
    signature: Signature, data: Any, expected: list[tuple[str, str]]
) -> None:
    assert [(fault.pointer, fault.code) for fault in faults(data, signature)] == expected


def test_faults_name_the_nearest_name_and_help() -> None:
    (_, unknown) = faults([{"agee": 1, "job": "a"}], PERSON)
    assert unknown.detail == "the model has no agee, did you mean age?"
    (text,) = faults([{"age": "47", "job": "a"}], PERSON)
    assert (text.detail, text.hint) == (
        "expected a number, got the string '47'",
        "send numbers without quotes",
    )
    (word,) = faults([{"age": "old", "job": "a"}], PERSON)
    assert (word.detail, word.hint) == ("expected a number, got the string 'old'", "")


@pytest.mark.parametrize("word", ["", "NaN", "NA", "null", "None"])
def test_a_word_for_nothing_is_no_number_and_null_is_the_way_to_say_it(word: str) -> None:
    (fault,) = faults({"age": word, "job": "a"}, PERSON)
    assert (fault.code, fault.hint) == ("not_a_number", "send null for a missing value")


def test_stored_items_may_have_any_forms_side_by_side() -> None:
    texts = {
        1: '{"age": 1, "job": "a"}',
        2: '[{"age": 2, "job": "b"}, {"age": 3, "job": "c"}]',
        3: '{"age": "4", "job": "d"}',
        4: '{"age": [5, 6], "job": ["e", "f"]}',
        5: '{"age": [[7]], "job": [["g"]]}',
        6: '{"age": NaN, "job": "h"}',
        7: "[[1]]",
        8: '[{"age": 8, "job": "i"}, {"age": [9], "job": "j"}]',
    }
    batch = load_batch(texts, PERSON)
    assert (batch.item_ids, batch.row_counts) == ([1, 2, 4, 5, 8], [1, 2, 2, 1, 2])
    by_place: dict[int, Any] = {}
    for part in batch.parts:
        ages = part.rows.tensors["age"][:, 0].tolist()
        by_place |= dict(zip(part.places, ages, strict=True))
    assert [by_place[place] for place in sorted(by_place)] == [1, 2, 3, 5, 6, 7, 8, 9]
    details = {item_id: failure.detail for item_id, failure in batch.failures.items()}
    assert sorted(details) == [3, 6, 7]
    assert details[3].startswith("data/age: expected a number, got the string '4'. Hint: ")
    assert details[6].endswith("Hint: write null for a missing value")


PEOPLE = ['{"age": "1", "job": "a"}', '[{"age": 2, "job": "b"}]', '{"age": 3, "job": "c"}']
TEXTS = [
    '{"ids": [["1", 1]], "mask": [[true, true]]}',
    '{"ids": [[2]], "mask": [[true]]}',
    '{"ids": [[3, 3]], "mask": [[true, true]]}',
]


@pytest.mark.parametrize(("signature", "texts"), [(PERSON, PEOPLE), (TOKENS, TEXTS)])
def test_the_first_valid_item_is_predicted_first(signature: Signature, texts: list[str]) -> None:
    batch = load_batch(dict(enumerate(texts)), signature)
    assert (batch.item_ids, list(batch.failures)) == ([1, 2], [0])
    first = next(iter(batch.parts[0].rows.tensors.values()))[0]
    assert first.tolist() == [2]
    assert [place for part in batch.parts for place in part.places] == [0, 1]


# Mask and faults hold together --------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**400, 65_520]),
    st.floats(),
    st.sampled_from([1e39, 2.0**63, 65_504.0, -0.0]),
    st.text(max_size=3),
    st.just([]),
    st.just([1]),
    st.just({}),
)
NAMES = ("a", "b", "c")


def inputs(features: bool) -> st.SearchStrategy[Input]:
    dtypes = st.sampled_from([*FLOATS, *sorted(INTEGERS), "bool", "str"])
    shapes = st.just((3,)) if features else st.sampled_from([(), (1,), (2,), ("n",), (2, 1)])
    flags = st.sampled_from([(), (True,), (True, False, True)] if features else [(), (True,)])
    words = st.sampled_from([None, "?"])
    return st.builds(Input, st.just("a"), dtypes, shapes, missing=flags, missing_text=words)


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    if draw(st.booleans()):
        return Signature((draw(inputs(features=True)),), features=NAMES)
    found = [draw(inputs(features=False)) for _ in range(draw(st.integers(1, 2)))]
    named = [Input(n, e.dtype, e.shape, missing=e.missing, missing_text=e.missing_text)
             for n, e in zip(NAMES, found, strict=False)]  # fmt: skip
    return Signature(tuple(named))


NESTED = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
DATA = st.one_of(
    NESTED,
    st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(NAMES), NESTED, max_size=3),
    st.lists(st.dictionaries(st.sampled_from(NAMES), NESTED, max_size=3), min_size=1, max_size=3),
)


@given(signatures(), DATA)
def test_the_mask_and_the_faults_agree_on_every_row_in_every_form(
    signature: Signature, data: Any
) -> None:
    found = faults(data, signature)
    if accepts([data], signature):
        assert found == []
    elif not found:  # valid rows of several shapes or forms
        for row in split_rows(data, signature):
            assert accepts([row], signature)
    else:
        assert all(fault.code and fault.detail for fault in found)


@given(signatures(), st.lists(DATA, min_size=1, max_size=6))
def test_together_items_are_accepted_exactly_as_they_are_one_by_one(
    signature: Signature, items: list[Any]
) -> None:
    good = [not faults(data, signature) for data in items]
    if accepts(items, signature):
        assert all(good)


@given(st.sampled_from([*sorted(INTEGERS)]), st.lists(VALUES, min_size=1, max_size=5))
def test_a_column_from_an_array_has_the_rules_of_one_from_json(
    dtype: str, values: list[Any]
) -> None:
    of = Input("a", dtype, ())
    signature = Signature((of,))
    numbers = [value for value in values if type(value) is int and -(2**63) <= value < 2**63]
    if not numbers:
        return
    array = Table({"a": Column(np.array(numbers, np.int64))}, len(numbers))
    listed = Table({"a": Column(numbers)}, len(numbers))
    assert same(tensors(array, signature), tensors(listed, signature))


def same(one: tuple[RowTensors, Any], other: tuple[RowTensors, Any]) -> bool:
    good = [[True] * len(rows) if mask is None else mask.tolist() for rows, mask in (one, other)]
    if good[0] != good[1]:
        return False
    keep = np.flatnonzero(good[0])
    return bool((one[0].tensors["a"][keep] == other[0].tensors["a"][keep]).all())
