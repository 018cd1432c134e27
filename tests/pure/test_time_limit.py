"""Calls of a model that take too long, in batches."""

import threading
import time
from collections.abc import Set
from pathlib import Path

import pytest

from batchline.constants import CALL_MAX_ROWS
from batchline.errors import BatchlineError, Failure, TimedOut
from batchline.ml.call_pace import CallPace
from batchline.ml.data_loader import load_batch, to_item_results
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.time_limit import TimeLimit
from batchline.registry.model_file import ModelFile
from tests import models

ENDLESS = 10**12


def never(threads: Set[int], error: BatchlineError) -> None:
    raise AssertionError(f"the threads {threads} are stuck")


@pytest.fixture
def slow(tmp_path: Path) -> Predictor:
    """A model that counts up to its input, with half a second for a call."""
    file = ModelFile.read(str(models.slow(tmp_path / "slow.onnx")), None)
    found = file.examine(None, None)
    runtime = Runtime(limit=TimeLimit(0.5, never))
    return Predictor.load(file.content, "slow", found.signature, found.batching, runtime=runtime)


def test_a_call_that_takes_too_long_fails_the_items_that_are_in_it(slow: Predictor) -> None:
    texts = dict.fromkeys(range(20), "[[3]]")
    texts[9] = f"[[{ENDLESS}]]"
    started = time.monotonic()
    batch = load_batch(texts, slow.signature)
    results = to_item_results(batch, slow.predict_batch(batch))
    assert time.monotonic() - started < 20
    late = Failure(TimedOut.code, "the model took longer than 0.5 s (MODEL_TIMEOUT)")
    assert set(results.failures.values()) == {late}
    assert 9 in results.failures
    assert set(range(8)) <= set(results.predictions)  # the first call, which is small


def test_an_item_that_takes_too_long_costs_one_call_whatever_its_rows(slow: Predictor) -> None:
    rows = ", ".join([f"[{ENDLESS}]"] * 100)
    started = time.monotonic()
    batch = load_batch({1: f"[{rows}]", 2: "[[3]]"}, slow.signature)
    results = to_item_results(batch, slow.predict_batch(batch))
    assert time.monotonic() - started < 20
    assert results.failures[1].code == TimedOut.code
    assert results.predictions == {2: '{"y":[3]}'}


def test_the_session_works_after_a_call_was_ended(slow: Predictor) -> None:
    for text in (f"[[{ENDLESS}]]", "[[3]]"):
        batch = load_batch({1: text}, slow.signature)
        results = to_item_results(batch, slow.predict_batch(batch))
    assert results.predictions == {1: '{"y":[3]}'}


def test_the_thread_that_watches_ends_when_no_call_is_made_and_comes_back() -> None:
    """A program that loads models again and again does not gather threads."""
    limit, others = TimeLimit(0.5, never), set(threading.enumerate())
    for _ in range(2):
        with limit.call():
            (watcher,) = set(threading.enumerate()) - others
        watcher.join(timeout=60)
        assert not watcher.is_alive()


@pytest.mark.parametrize(("row_seconds", "longest"), [(0.1, 1.0), (0.01, 1.0), (1e-7, 0.1)])
def test_no_call_of_a_model_with_a_steady_speed_takes_long(
    row_seconds: float, longest: float
) -> None:
    pace = CallPace()
    for _ in range(10):
        rows = pace.rows(CALL_MAX_ROWS)
        assert rows * row_seconds <= longest + 1e-9
        pace.record(rows, rows * row_seconds)
    assert rows == min(CALL_MAX_ROWS, round(1 / row_seconds))
