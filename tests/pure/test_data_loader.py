"""Stored items to a tensor, and results back to items."""

import numpy as np

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ModelFailed
from batchline.ml.data_loader import Tensor, assemble, load_batch, predict_rows
from batchline.ml.results import Failure, Result
from batchline.ml.signature import Signature

PAIRS = Signature("x", "float32", (2,))
IMAGES = Signature("x", "int64", (2, 2))


def test_rows_of_many_items_become_one_tensor() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4], [5, 6]]"), (3, "oops")], PAIRS)
    assert batch.tensor.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert batch.tensor.dtype == np.float32
    assert (batch.item_ids, batch.row_counts) == ([1, 2], [1, 2])
    assert batch.failures[3].code == "invalid_json"


def test_rows_of_several_axes_keep_their_shape() -> None:
    batch = load_batch([(1, b"[[[1, 2], [3, 4]]]"), (2, b"[[[5, 6], [7, 8]]]")], IMAGES)
    assert batch.tensor.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_a_batch_in_which_nothing_is_right_is_an_empty_tensor() -> None:
    assert load_batch([(1, "{}"), (2, None)], PAIRS).tensor.shape == (0, 2)


def test_texts_that_only_together_are_json_stay_bad() -> None:
    batch = load_batch([(1, "[[1, 2]"), (2, "[3, 4]]"), (3, "[[1, 2]], [[3, 4]]")], PAIRS)
    assert set(batch.failures) == {1, 2, 3}


def test_items_get_an_object_for_one_row_and_a_list_for_several() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4], [5, 6]]")], PAIRS)
    assert assemble(batch, ['"a"', '"b"', '"c"']).predictions == [(1, '"a"'), (2, '["b","c"]')]


def test_an_item_fails_with_the_reason_of_its_first_bad_row() -> None:
    batch = load_batch([(7, "[[3, 4], [5, 6]]")], PAIRS)
    results = assemble(batch, ["1", Failure("model_error", "no")])
    assert results.predictions == []
    assert results.failures == [(7, "model_error", "row 1: no")]


def test_items_whose_rows_have_not_all_a_result_are_left_out() -> None:
    batch = load_batch([(1, "[[1, 2]]"), (2, "[[3, 4], [5, 6]]"), (3, "[[7, 8]]")], PAIRS)
    results = assemble(batch, ["1", "2"])
    assert results.predictions == [(1, "1")]
    assert results.until == 1
    assert assemble(batch, ["1", "2", "3"]).until == 2
    assert assemble(batch, ["1", "2", "3", "4"]).until is None


def test_a_prediction_that_is_too_large_fails_its_item_also_when_only_half_of_it_is_there() -> None:
    batch = load_batch([(1, "[[1, 2], [3, 4]]"), (2, "[[5, 6]]")], PAIRS)
    large = f'"{"x" * MAX_BODY_BYTES}"'
    for rows in ([large], [large, "1", "2"]):
        code = assemble(batch, rows).failures[0][:2]
        assert code == (1, "prediction_too_large")
    assert assemble(batch, [large]).until == 1


class Raising:
    """A model that raises where a row is negative, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tensor: Tensor) -> list[Result]:
        self.calls += 1
        if (tensor < 0).any():
            raise ModelFailed("negative")
        return [str(int(value)) for value in tensor[:, 0]]


def test_bad_rows_are_found_by_halving() -> None:
    model = Raising()
    tensor = np.arange(1024, dtype=np.float32).reshape(-1, 1)
    tensor[[100, 700]] *= -1
    results = predict_rows(model, tensor)
    failed = [place for place, result in enumerate(results) if isinstance(result, Failure)]
    assert failed == [100, 700]
    assert results[101] == "101"
    assert model.calls <= 1 + 2 * 2 * 10  # two bad rows, log2(1024) halvings, two halves each
