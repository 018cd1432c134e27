"""Stored items to a tensor, and results back to items."""

import numpy as np
import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import Failure, ModelFailed
from batchline.ml.data_loader import (
    Batch,
    load_batch,
    predict_rows,
    to_item_results,
)
from batchline.ml.inputs import Input
from batchline.ml.prediction_texts import RowResults
from batchline.ml.rows import RowTensors
from batchline.ml.signature import Signature

PAIRS = Signature((Input("x", "float32", (2,)),))
IMAGES = Signature((Input("x", "int64", (2, 2)),))
TEXTS = Signature((Input("ids", "int64", ("n",)), Input("mask", "bool", ("n",))))
SOUNDS = Signature((Input("x", "float32", ("",)), Input("rate", "int64", (), per_item=True)))


def tensor(batch: Batch, name: str = "x") -> np.ndarray:
    (part,) = batch.parts
    assert list(part.places) == list(range(len(part.rows)))
    return part.rows.tensors[name]


def test_rows_of_many_items_become_one_tensor() -> None:
    batch = load_batch({1: "[[1, 2]]", 2: "[[3, 4], [5, 6]]", 3: "oops"}, PAIRS)
    assert tensor(batch).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert tensor(batch).dtype == np.float32
    assert (batch.item_ids, batch.row_counts) == ([1, 2], [1, 2])
    assert batch.failures[3].code == "invalid_json"


def test_rows_of_several_axes_keep_their_shape() -> None:
    batch = load_batch({1: b"[[[1, 2], [3, 4]]]", 2: b"[[[5, 6], [7, 8]]]"}, IMAGES)
    assert tensor(batch).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_a_batch_in_which_nothing_is_right_has_no_rows() -> None:
    batch = load_batch({1: "{}", 2: None}, PAIRS)
    assert (batch.parts, batch.item_ids) == ([], [])


def test_inputs_come_together_row_by_row() -> None:
    items = [
        (1, '{"mask": [[true, false]], "ids": [[1, 2]]}'),
        (2, '{"ids":[[3,4]],"mask":[[true,true]]}'),
    ]
    batch = load_batch(dict(items), TEXTS)
    assert tensor(batch, "ids").tolist() == [[1, 2], [3, 4]]
    assert tensor(batch, "mask").tolist() == [[True, False], [True, True]]


def test_rows_of_other_shapes_are_predicted_apart() -> None:
    def item(*lengths: int) -> str:
        rows = [list(range(length)) for length in lengths]
        return orjson.dumps({"ids": rows, "mask": [[True] * len(row) for row in rows]}).decode()

    batch = load_batch({1: item(2), 2: item(3, 2), 3: item(2, 2), 4: item(3)}, TEXTS)
    assert batch.row_counts == [1, 2, 2, 1]
    assert [list(part.places) for part in batch.parts] == [[0, 3, 4], [1], [2], [5]]
    assert [part.rows.tensors["ids"].shape for part in batch.parts] == [
        (3, 2),
        (1, 3),
        (1, 2),
        (1, 3),
    ]


def test_rows_share_a_call_only_with_those_of_the_same_value_for_the_item() -> None:
    texts = [(n, f'{{"x": [[0.5, {n}]], "rate": {rate}}}') for n, rate in ((1, 8), (2, 16), (3, 8))]
    batch = load_batch(dict(texts), SOUNDS)
    assert [list(part.places) for part in batch.parts] == [[0, 2], [1]]
    assert [int(part.rows.once["rate"]) for part in batch.parts] == [8, 16]


def test_a_value_for_the_item_that_is_nested_too_deeply_fails_alone() -> None:
    deep = "[" * 300 + "]" * 300
    good = '{"x": [[0.1]], "rate": 7}'
    batch = load_batch({1: good, 2: f'{{"x": [[0.1]], "rate": {deep}}}', 3: good}, SOUNDS)
    assert batch.item_ids == [1, 3]
    assert batch.failures[2].detail.startswith("data/rate: expected a number, got a list")


def test_texts_that_only_together_are_json_stay_bad() -> None:
    batch = load_batch({1: "[[1, 2]", 2: "[3, 4]]", 3: "[[1, 2]], [[3, 4]]"}, PAIRS)
    assert set(batch.failures) == {1, 2, 3}


def test_items_get_an_object_for_one_row_and_a_list_for_several() -> None:
    batch = load_batch({1: "[[1, 2]]", 2: "[[3, 4], [5, 6]]"}, PAIRS)
    assert to_item_results(batch, RowResults(['"a"', '"b"', '"c"'])).predictions == {
        1: '"a"',
        2: '["b","c"]',
    }


def test_items_have_the_label_of_their_row_or_a_list_of_them() -> None:
    batch = load_batch({1: "[[1, 2]]", 2: "[[3, 4], [5, 6]]", 3: "[[7, 8]]"}, PAIRS)
    rows = RowResults(["1", "2", "3", Failure("model_error", "no")], ["a", "[b]", "c", None])
    assert to_item_results(batch, rows).labels == {1: "a", 2: '["[b]","c"]'}
    single = load_batch({1: "[[1, 2]]", 2: "[[3, 4]]"}, PAIRS)
    assert to_item_results(single, RowResults(["1", "2"], ["a", None])).labels == {1: "a"}


def test_an_item_fails_with_the_reason_of_its_first_bad_row() -> None:
    batch = load_batch({7: "[[3, 4], [5, 6]]"}, PAIRS)
    results = to_item_results(batch, RowResults(["1", Failure("model_error", "no")]))
    assert results.predictions == {}
    assert results.failures == {7: Failure("model_error", "row 1: no")}


def test_items_whose_rows_have_not_all_a_result_are_left_out() -> None:
    batch = load_batch({1: "[[1, 2]]", 2: "[[3, 4], [5, 6]]", 3: "[[7, 8]]"}, PAIRS)
    results = to_item_results(batch, RowResults(["1", "2", None, None]))
    assert results.predictions == {1: "1"}
    assert results.until == 1
    assert to_item_results(batch, RowResults(["1", "2", "3", None])).until == 2
    assert to_item_results(batch, RowResults(["1", "2", "3", "4"])).until is None


def test_a_prediction_that_is_too_large_fails_its_item_also_when_only_half_of_it_is_there() -> None:
    batch = load_batch({1: "[[1, 2], [3, 4]]", 2: "[[5, 6]]"}, PAIRS)
    large = f'"{"x" * MAX_BODY_BYTES}"'
    for rows in ([large, None, None], [large, "1", "2"]):
        assert to_item_results(batch, RowResults(rows)).failures[1].code == "prediction_too_large"
    assert to_item_results(batch, RowResults([large, None, None])).until == 1


class Raising:
    """A model that raises where a row is negative, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: RowTensors) -> RowResults:
        self.calls += 1
        tensor = rows.tensors["x"]
        if (tensor < 0).any():
            raise ModelFailed("negative")
        texts = [str(int(value)) for value in tensor[:, 0]]
        return RowResults(texts, [f"label {text}" for text in texts])


def test_bad_rows_are_found_by_halving() -> None:
    model = Raising()
    tensor = np.arange(1024, dtype=np.float32).reshape(-1, 1)
    tensor[[100, 700]] *= -1
    found = predict_rows(model, RowTensors({"x": tensor}))
    results = found.results
    failed = [place for place, result in enumerate(results) if isinstance(result, Failure)]
    assert failed == [100, 700]
    assert results[101] == "101"
    assert found.labels is not None
    assert found.labels[99:102] == ["label 99", None, "label 101"]
    assert model.calls <= 1 + 2 * 2 * 10  # two bad rows, log2(1024) halvings, two halves each
