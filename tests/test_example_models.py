"""Every number that is served is the model's own answer for that row alone."""

from functools import cache
from typing import Any

import numpy as np
import orjson
import pytest

from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.content import ModelContent
from batchline.ml.data_loader import load_batch
from batchline.ml.differences import ABSOLUTE, RELATIVE
from batchline.ml.examination.examine import examine
from batchline.ml.examination.report import ModelReport
from batchline.ml.outputs import to_predictions
from batchline.ml.prediction_texts import to_results
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.session import Session
from scripts import models_page
from scripts.example_models import EXAMPLES

MOST = 1_000
SLOW = {"magika"}
"""20 ms a row: the 500,500 rows of all sizes would take hours."""
PAGE = models_page.PAGE.read_text()


@cache
def examined(name: str) -> tuple[ModelContent, ModelReport]:
    content = ModelContent(EXAMPLES[name].make())
    sample = orjson.dumps(EXAMPLES[name].data(12)) if name in models_page.NEEDS_SAMPLE else None
    return content, examine(content, name, sample=sample and ("rows.json", sample))


def sizes(name: str, long: bool) -> list[int]:
    """Each from 1 to 1,000 in the long form, but for slow models; else a series of them."""
    if long and name not in SLOW:
        return list(range(1, MOST + 1))
    most = MOST if long or name not in SLOW else 34
    few, each = [1], 2
    while each < most:
        few.append(each)
        each = -(-each * 8 // 5)
    return [*few, most]


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_served_at_any_batch_size_is_what_each_row_gets_alone(
    name: str, long: bool
) -> None:
    content, found = examined(name)
    predictor = Predictor.load(content, name, found.signature, found.batching)
    most = max(sizes(name, long))
    data = EXAMPLES[name].data(most)
    alone = [answers_alone(name, one(data, place)) for place in range(most)]
    for size in sizes(name, long):
        served = serve(predictor, first(data, size))
        for place in range(size):
            assert same(orjson.loads(served[place]), orjson.loads(alone[place])), (size, place)


def one(data: Any, place: int) -> Any:
    if isinstance(data, dict):
        return {key: value[place : place + 1] for key, value in data.items()}
    return data[place : place + 1]


def first(data: Any, size: int) -> Any:
    if isinstance(data, dict):
        return {key: value[:size] for key, value in data.items()}
    return data[:size]


def serve(predictor: Predictor, data: Any) -> list[str]:
    """As a job does it: one item, in calls of as many rows as one may have."""
    batch = load_batch({1: orjson.dumps(data)}, predictor.signature)
    assert batch.failures == {}
    results: dict[int, str] = {}
    for part in batch.parts:
        step = predictor.batching.call_rows
        for start in range(0, len(part.rows), step):
            answers = map(str, predictor.predict(part.rows[start : start + step]).results)
            results |= dict(zip(part.places[start : start + step], answers, strict=True))
    return [results[place] for place in range(len(results))]


@cache
def session_of(name: str) -> Session:
    return Session.open(examined(name)[0], name, Runtime())


def answers_alone(name: str, data: Any) -> str:
    """The answer to one row in a call of its own; where a batch has a fixed size, filled up."""
    _, found = examined(name)
    batch = load_batch({1: orjson.dumps(data)}, found.signature)
    [part] = batch.parts
    size = found.batching.size or 1
    mode = Batching(size, found.batching.axis)
    outputs = call(session_of(name), part.rows, mode, found.signature)
    [answer] = to_results(to_predictions(outputs, found.signature)).results
    return str(answer)


def same(served: Any, alone: Any) -> bool:
    if isinstance(alone, dict):
        return list(served) == list(alone) and all(same(served[key], alone[key]) for key in alone)
    if isinstance(alone, str) or (isinstance(alone, list) and isinstance(alone[0], str)):
        return bool(served == alone)
    a, b = np.asarray(served, float), np.asarray(alone, float)
    return a.shape == b.shape and bool((np.abs(a - b) <= ABSOLUTE + RELATIVE * np.abs(b)).all())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_each_model_with_its_verdict(name: str) -> None:
    _, _, section = PAGE.partition(f"### {name}: {EXAMPLES[name].what}\n")
    section = section.partition("###")[0]
    assert f"$ batchline models add {name} " in section
    assert f"batching: {examined(name)[1].batching.verdict}" in section
    assert '"prediction": ' in section
