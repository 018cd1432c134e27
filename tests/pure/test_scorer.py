"""How often the model is called for rows at which it fails."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batchline
from batchline.files.blocks import Block
from batchline.files.table_rows import TableRows
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.scoring.columns import ERROR, Added, kinds_of, predicted_columns
from batchline.scoring.frames import ORIGIN
from batchline.scoring.scorer import Scored, Scorer
from tests import models

CALL_ROWS = 1_024
GOOD, BAD = 3, 99


@dataclass(frozen=True)
class Counted(Predictor):
    """A predictor that notes the rows of each call."""

    calls: list[int] = field(default_factory=list)

    def outputs(self, rows: RowTensors) -> list[Any]:
        self.calls.append(len(rows))
        return super().outputs(rows)


@pytest.fixture
def picky(tmp_path: Path) -> Counted:
    """A model that fails at each call with a bad value."""
    found = batchline.load_model(models.picky(tmp_path / "picky.onnx"))._model.predictor
    return Counted(found.session, found.signature, found.batching)


def score(predictor: Counted, values: Sequence[int]) -> Scored:
    added = Added(predicted_columns(predictor), (ERROR,))
    scorer = Scorer(predictor, kinds_of(predictor.signature), added, "picky", "1")
    batch = pa.record_batch({"x": pa.array(values, pa.int64())})
    block = Block(len(values), {"x": batch.column(0)}, TableRows(batch), {}, 1)
    return scorer.score(block, ORIGIN)


def check(found: Scored, values: Sequence[int]) -> None:
    squares, errors = found.arrays
    expected = [9.0 if value == GOOD else None for value in values]
    assert squares.to_pylist() == expected
    assert [error is not None for error in errors.to_pylist()] == [v == BAD for v in values]
    assert sorted(found.errors) == [place for place, v in enumerate(values) if v == BAD]


def test_one_row_is_found_by_halving(picky: Counted) -> None:
    values = [GOOD] * 700 + [BAD] + [GOOD] * 4_300
    check(score(picky, values), values)
    assert len(picky.calls) < 30


@pytest.mark.parametrize("pattern", [[BAD], [BAD, GOOD], [GOOD, BAD, BAD, GOOD]], ids=range(3))
def test_if_most_rows_fail_the_model_gets_each_row_few_times(
    picky: Counted, pattern: list[int]
) -> None:
    values = pattern * (4 * CALL_ROWS // len(pattern))
    check(score(picky, values), values)
    assert len(picky.calls) < 2 * len(values)
    assert sum(picky.calls) < 5 * len(values)


def test_if_all_rows_fail_there_is_one_call_for_each(picky: Counted) -> None:
    values = [BAD] * 4 * CALL_ROWS
    check(score(picky, values), values)
    assert len(picky.calls) < len(values) + 2 * CALL_ROWS


def test_after_the_rows_that_fail_calls_are_large_again(picky: Counted) -> None:
    values = [BAD] * 2 * CALL_ROWS + [GOOD] * 4 * CALL_ROWS
    check(score(picky, values), values)
    assert picky.calls[-3] == CALL_ROWS
