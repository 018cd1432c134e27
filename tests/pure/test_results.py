"""A model's outputs to JSON text."""

import json
import math

import numpy as np
import orjson
import pytest

from batchline.errors import Failure, ModelFailed
from batchline.ml.inputs import Input
from batchline.ml.outputs import to_predictions
from batchline.ml.prediction_texts import RowResults
from batchline.ml.prediction_texts import to_results as to_texts
from batchline.ml.signature import Output, Signature

OTHER = None


def to_results(
    outputs: list[object],
    names: list[str],
    labels: tuple[str, ...] | None,
    *,
    allow_non_finite: bool = False,
) -> list[object]:
    probabilities = names[-1] if labels else None
    found = convert(outputs, names, allow_non_finite, labels=labels, probabilities=probabilities)
    return list(found.results)


def convert(
    outputs: list[object], names: list[str], allow_non_finite: bool = False, **roles: object
) -> RowResults:
    declared = tuple(Output(name, "float32") for name in names)
    signature = Signature((Input("x", "float32", ()),), declared, **roles)
    return to_texts(to_predictions(outputs, signature, allow_non_finite=allow_non_finite))


CLASSES = ("no", "yes")

PROBABILITIES = np.array([[0.25, 0.75], [1, 0]], np.float32)
ZIPMAP = [{0: 0.25, 1: 0.75}, {0: 1.0, 1: 0.0}]


@pytest.mark.parametrize("probabilities", [PROBABILITIES, ZIPMAP], ids=["tensor", "zipmap"])
def test_a_classifier_gives_label_and_probability(probabilities: object) -> None:
    roles = {"labels": CLASSES, "probabilities": "p", "label": "l", "label_values": ("0", "1")}
    found = convert([np.array([1, 1]), probabilities], ["l", "p"], **roles)
    assert found.results == ['{"no":0.25,"yes":0.75}', '{"no":1.0,"yes":0.0}']
    assert found.labels == ["yes", "yes"]  # not always the one with the highest probability


def test_the_label_of_a_model_without_one_has_the_highest_probability() -> None:
    found = convert([PROBABILITIES], ["p"], labels=CLASSES, probabilities="p")
    assert found.labels == ["yes", "no"]


def test_no_output_is_lost_and_the_label_is_not_repeated() -> None:
    outputs = [np.array(["yes", "no"], object), np.array([[7], [8]]), PROBABILITIES]
    roles = {"labels": CLASSES, "probabilities": "p", "label": "l"}
    found = convert(outputs, ["l", "leaf", "p"], **roles)
    assert found.results == [
        '{"leaf":[7],"p":{"no":0.25,"yes":0.75}}',
        '{"leaf":[8],"p":{"no":1.0,"yes":0.0}}',
    ]
    assert found.labels == ["yes", "no"]
    only_label = convert(outputs[:1], ["l"], label="l")
    assert (only_label.results, only_label.labels) == (['{"l":"yes"}', '{"l":"no"}'], ["yes", "no"])


def test_the_probabilities_of_a_zipmap_are_taken_by_their_keys() -> None:
    by_key = [{2: 0.25, 9: 0.75}, {2: 1.0, 9: 0.0}]
    found = convert([by_key], ["p"], labels=("9", "2"), probabilities="p")
    assert found.results == ['{"9":0.75,"2":0.25}', '{"9":0.0,"2":1.0}']
    renamed = {"labels": ("nine", "two"), "label_values": ("9", "2"), "probabilities": "p"}
    assert convert([by_key], ["p"], **renamed).results[0] == '{"nine":0.75,"two":0.25}'


def test_a_boolean_label_and_one_that_is_not_known() -> None:
    roles = {"labels": CLASSES, "probabilities": "p", "label_values": ("0", "1")}
    found = convert([np.array([True, False]), PROBABILITIES], ["l", "p"], label="l", **roles)
    assert found.labels == ["yes", "no"]
    found = convert([np.array([1, 1]), PROBABILITIES], ["flag", "p"], label="", **roles)
    assert found.labels is None
    assert found.results[0] == '{"flag":1,"p":{"no":0.25,"yes":0.75}}'


@pytest.mark.parametrize("count", [2, 3, 8, 9, 40])
def test_labels_are_those_of_the_model_whatever_the_probabilities_are(count: int) -> None:
    random = np.random.default_rng(count)
    classes = tuple(f"class {number}" for number in range(count))
    rows = random.random((500, count)).astype(np.float32)
    rows[::7, 0], rows[::11] = np.nan, 0.5
    likely = np.nan_to_num(rows, nan=-1.0).argmax(axis=1)
    places = np.where(random.random(500) < 0.8, likely, random.integers(0, count, 500))
    labels = np.array([f"class {place}" for place in places.tolist()], object)
    roles = {"labels": classes, "probabilities": "p", "label": "l"}
    found = convert([labels, rows], ["l", "p"], True, **roles)
    assert found.labels == labels.tolist()


def test_a_label_that_is_no_class_fails_its_row_alone() -> None:
    roles = {"labels": CLASSES, "probabilities": "p", "label": "l"}
    found = convert([np.array(["yes", "oops"], object), PROBABILITIES], ["l", "p"], **roles)
    why = "the label must be one of the classes no, yes, got oops"
    assert found.results[1] == Failure("model_error", why)
    assert found.results[0] == '{"no":0.25,"yes":0.75}'


def test_a_row_without_finite_probabilities_has_no_label() -> None:
    bad = np.array([[0.5, 0.5], [math.nan, 0.5]], np.float32)
    found = convert([bad], ["p"], allow_non_finite=True, labels=CLASSES, probabilities="p")
    assert found.labels == ["no", None]


def test_a_constant_list_of_the_classes_is_no_further_output() -> None:
    signature = Signature(
        (Input("x", "float32", ()),),
        (Output("p", "float32"), Output("classes", "str", constant=True)),
        labels=CLASSES,
        probabilities="p",
    )
    names = [np.array(CLASSES, object)] * 2
    found = to_texts(to_predictions([PROBABILITIES, names], signature))
    assert found.results == ['{"no":0.25,"yes":0.75}', '{"no":1.0,"yes":0.0}']
    others = [np.array(["a", "b"], object)] * 2
    found = to_texts(to_predictions([PROBABILITIES, others], signature))
    assert found.results[0] == '{"p":{"no":0.25,"yes":0.75},"classes":["a","b"]}'


def test_any_other_model_gives_output_and_value() -> None:
    outputs = [np.array([[1.0], [2.0]], np.float32), np.array([3, 4])]
    results = to_results(outputs, ["a", "b"], OTHER)
    assert results == ['{"a":[1.0],"b":3}', '{"a":[2.0],"b":4}']


@pytest.mark.parametrize(
    "output",
    [
        np.arange(3, dtype=np.int64),
        np.linspace(-1e30, 1e-30, 6, dtype=np.float32).reshape(3, 2),
        np.linspace(0, 1, 24).reshape(3, 2, 4)[:, ::-1],
        np.arange(24, dtype=np.uint8).reshape(3, 1, 2, 4),
        np.zeros((3, 0), np.float32),
        np.zeros((3, 2, 0), np.float32),
        np.array([True, False, True]),
        np.array(["],[", 'a"b', "é"], object),
        np.arange(3, dtype=np.float16).reshape(3, 1),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)),
    ],
    ids=lambda output: f"{output.dtype}-{output.ndim}d",
)
def test_each_row_is_written_as_it_would_be_alone(output: np.ndarray) -> None:
    alone = [
        orjson.dumps(
            {"%s": row.copy() if isinstance(row, np.ndarray) else row},
            option=orjson.OPT_SERIALIZE_NUMPY,
        ).decode()
        for row in output
    ]
    assert to_results([output], ["%s"], OTHER) == alone


def test_labels_may_hold_any_text() -> None:
    labels = ('100 %s "a"', "{}")
    (text,) = to_results([np.array([[0.5, 0.5]], np.float32)], ["p"], labels)
    assert json.loads(str(text)) == {labels[0]: 0.5, labels[1]: 0.5}


def test_probabilities_that_do_not_fit_the_labels_are_an_error() -> None:
    with pytest.raises(ModelFailed, match="3 probabilities for 2 labels"):
        to_results([np.zeros((1, 3), np.float32)], ["p"], CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_fails_alone(value: float) -> None:
    output = np.array([[0.5, 0.5], [value, 0.5]], np.float32)
    good, bad = to_results([output], ["p"], CLASSES)
    assert good == '{"no":0.5,"yes":0.5}'
    assert isinstance(bad, Failure)
    assert bad.code == "prediction_not_finite"


def test_numbers_that_json_has_not_are_failures() -> None:
    first, second = to_results([np.array([1 + 2j, 1j])], ["z"], OTHER)
    assert isinstance(first, Failure)
    assert first.code == "model_error"
    assert second == first


def test_float32_numbers_are_written_in_their_shortest_form() -> None:
    results = to_results([np.array([[0.1, 0.9]], np.float32)], ["p"], CLASSES)
    assert results == ['{"no":0.1,"yes":0.9}']


RAGGED = [[np.array([1.0]), np.array([2.0, 3.0])], [np.array([1.0]), np.array([2.0, math.nan])]]


def test_an_output_with_its_rows_along_another_axis_stays_beside_one_that_is_not_finite() -> None:
    across, root = np.array([[1, 2], [3, 4]], np.float32).T, np.array([1, math.nan], np.float32)
    good, bad = to_results([across, root], ["t", "s"], OTHER)
    assert good == '{"t":[1.0,3.0],"s":1.0}'
    assert isinstance(bad, Failure)
    allowed = to_results([across, root], ["t", "s"], OTHER, allow_non_finite=True)
    assert allowed == [good, '{"t":[2.0,4.0],"s":"NaN"}']


def test_arrays_in_lists_may_be_along_another_axis() -> None:
    across = np.array([[1, 2], [3, 4]], np.float32).T
    assert to_results([[[across[0]], [across[1]]]], ["q"], OTHER) == [
        '{"q":[[1.0,3.0]]}',
        '{"q":[[2.0,4.0]]}',
    ]


@pytest.mark.parametrize(
    ("output", "word", "text"),
    [
        (np.array([[1.0], [math.nan]]), "NaN", '{"p":["NaN"]}'),
        (np.array([1.0, -math.inf], np.float16), "-Infinity", '{"p":"-Infinity"}'),
        ([np.array([1.0]), np.array([2.0, math.inf])], "Infinity", '{"p":[2.0,"Infinity"]}'),
        ([[1.0], [math.nan]], "NaN", '{"p":["NaN"]}'),
        ([{"a": 1.0}, {"a": math.inf}], "Infinity", '{"p":{"a":"Infinity"}}'),
        (RAGGED, "NaN", '{"p":[[1.0],[2.0,"NaN"]]}'),
        (np.array([[1.0, 3.0], [2.0, math.nan]]).T, "NaN", '{"p":[3.0,"NaN"]}'),
    ],
    ids=["tensor", "scalars", "tensors", "lists", "maps", "tensors of different shapes", "strided"],
)
def test_numbers_that_are_not_finite_are_strings_if_allowed_and_otherwise_named(
    output: object, word: str, text: str
) -> None:
    good, failed = to_results([output], ["p"], OTHER)
    assert isinstance(good, str)
    assert failed == Failure("prediction_not_finite", f"expected finite numbers in p, got {word}")
    assert to_results([output], ["p"], OTHER, allow_non_finite=True) == [good, text]


def test_the_class_whose_probability_is_not_finite_is_named() -> None:
    output = np.array([[0.5, 0.5], [0.5, math.nan]], np.float32)
    _, failed = to_results([output], ["p"], CLASSES)
    assert isinstance(failed, Failure)
    assert failed.detail == "expected finite numbers in yes, got NaN"
