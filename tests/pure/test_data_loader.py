"""Rows to tensors, outputs to results."""

import json
import math

import numpy as np
import pytest

from batchline.errors import ModelFailed
from batchline.ml.data_loader import (
    Failure,
    Tensor,
    assemble,
    load_batch,
    predict_rows,
    to_results,
)
from batchline.ml.signature import Signature

PAIRS = Signature("x", "float32", (2,))
CLASSES = Signature("x", "float32", (2,), ("no", "yes"))


def test_rows_of_many_items_become_one_tensor() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4], [5, 6]]"), (3, "oops")], PAIRS)
    assert batch.tensor.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert batch.tensor.dtype == np.float32
    assert (batch.item_ids, batch.row_counts) == ([1, 2], [1, 2])
    assert batch.failures[3].code == "invalid_json"


def test_a_batch_in_which_nothing_is_right_is_an_empty_tensor() -> None:
    assert load_batch([(1, "{}"), (2, None)], PAIRS).tensor.shape == (0, 2)


def test_texts_that_only_together_are_json_stay_bad() -> None:
    batch = load_batch([(1, "[[1, 2]"), (2, "[3, 4]]"), (3, "[[1, 2]], [[3, 4]]")], PAIRS)
    assert set(batch.failures) == {1, 2, 3}


PROBABILITIES = np.array([[0.25, 0.75], [1, 0]], np.float32)
ZIPMAP = [{0: 0.25, 1: 0.75}, {0: 1.0, 1: 0.0}]


@pytest.mark.parametrize("probabilities", [PROBABILITIES, ZIPMAP], ids=["tensor", "zipmap"])
def test_a_classifier_gives_label_and_probability(probabilities: object) -> None:
    outputs = [np.array([1, 0]), probabilities]
    results = to_results(outputs, ["label", "probabilities"], CLASSES)
    assert results == [{"no": 0.25, "yes": 0.75}, {"no": 1.0, "yes": 0.0}]


def test_any_other_model_gives_output_and_value() -> None:
    outputs = [np.array([[1.0], [2.0]], np.float32), np.array([3, 4])]
    results = to_results(outputs, ["a", "b"], PAIRS)
    assert [(row["a"].tolist(), row["b"]) for row in results] == [([1.0], 3), ([2.0], 4)]


def test_probabilities_that_do_not_fit_the_labels_are_an_error() -> None:
    with pytest.raises(ModelFailed, match="3 probabilities for 2 labels"):
        to_results([np.zeros((1, 3), np.float32)], ["p"], CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_fails_alone(value: float) -> None:
    output = np.array([[0.5, 0.5], [value, 0.5]], np.float32)
    good, bad = to_results([output], ["p"], CLASSES)
    assert good == {"no": 0.5, "yes": 0.5}
    assert bad.code == "prediction_not_finite"


def test_items_get_an_object_for_one_row_and_a_list_for_several() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4], [5, 6]]")], PAIRS)
    results = assemble(batch, ["a", "b", "c"])
    assert [(i, json.loads(text)) for i, text in results.predictions] == [(1, "a"), (2, ["b", "c"])]


def test_an_item_fails_with_the_reason_of_its_first_bad_row() -> None:
    batch = load_batch([(7, "[[3, 4], [5, 6]]")], PAIRS)
    results = assemble(batch, ["a", Failure("model_error", "no")])
    assert results.predictions == []
    assert results.failures == [(7, "model_error", "row 1: no")]


def test_a_prediction_that_json_cannot_hold_fails_its_item() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4]]")], PAIRS)
    results = assemble(batch, [{"z": 1 + 2j}, {"z": 1.0}])
    assert results.predictions == [(2, '{"z":1.0}')]
    assert results.failures[0][:2] == (1, "model_error")


def test_float32_numbers_are_written_in_their_shortest_form() -> None:
    batch = load_batch([(1, "[[1, 2]]")], PAIRS)
    results = to_results([np.array([[0.1, 0.9]], np.float32)], ["p"], CLASSES)
    assert assemble(batch, results).predictions == [(1, '{"no":0.1,"yes":0.9}')]


class Raising:
    """A model that raises where a row is negative, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tensor: Tensor) -> list[object]:
        self.calls += 1
        if (tensor < 0).any():
            raise ModelFailed("negative")
        return list(tensor[:, 0])


def test_bad_rows_are_found_by_halving() -> None:
    model = Raising()
    tensor = np.arange(1024, dtype=np.float32).reshape(-1, 1)
    tensor[[100, 700]] *= -1
    results = predict_rows(model, tensor)
    failed = [place for place, result in enumerate(results) if isinstance(result, Failure)]
    assert failed == [100, 700]
    assert results[101] == 101
    assert model.calls <= 1 + 2 * 2 * 10  # two bad rows, log2(1024) halvings, two halves each
