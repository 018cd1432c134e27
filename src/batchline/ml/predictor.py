"""Predict a batch with a version of a model that has been loaded."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from batchline.errors import ModelFailed
from batchline.ml.batch_results import BatchResults
from batchline.ml.batching import Batching
from batchline.ml.call_pace import CallPace
from batchline.ml.calls import call
from batchline.ml.content import ModelContent
from batchline.ml.data_loader import Batch, load_batch, predict_rows
from batchline.ml.outputs import Predictions, to_predictions
from batchline.ml.prediction_texts import RowResults, to_results
from batchline.ml.rows import RowTensors
from batchline.ml.runtime import Runtime
from batchline.ml.session import Session
from batchline.ml.signature import Signature
from batchline.ml.time_limit import TimeLimit


@dataclass(frozen=True)
class Predictor:
    """One model in one session. Several threads may call it at once."""

    session: Session
    signature: Signature
    batching: Batching
    allow_non_finite: bool = False
    pace: CallPace = field(default_factory=CallPace)

    @classmethod
    def load(
        cls,
        content: ModelContent,
        name: str,
        signature: Signature,
        batching: Batching,
        *,
        runtime: Runtime | None = None,
        allow_non_finite: bool = False,
    ) -> "Predictor":
        """Open a model that has been added.

        Raises:
            ConfigurationError: this ONNX Runtime cannot load it.
        """
        session = Session.open(content, name, runtime or Runtime(), signature)
        predictor = cls(session, signature, batching, allow_non_finite)
        predictor.warm_up()
        return predictor

    def limited(self, limit: TimeLimit | None) -> "Predictor":
        """Return the same model with another time for one call."""
        return replace(self, session=self.session.limited(limit))

    def warm_up(self) -> None:
        """Predict one row, so that one-time work does not slow down the first batch."""
        [part] = load_batch({0: orjson.dumps(self.signature.example())}, self.signature).parts
        with suppress(ModelFailed):  # not every model accepts every row
            self.predict(part.rows)

    def predict_batch(
        self, batch: Batch, wants_more: Callable[[BatchResults], bool] = lambda found: True
    ) -> RowResults:
        """Predict all rows of a batch, in calls of up to `batching.call_rows` rows.

        If a call takes too long, all items with rows in it fail, and their other rows are left out.

        Args:
            wants_more: asked before each call, with the results so far. If it returns False, the
                remaining rows are left out.
        """
        found = BatchResults(batch.row_counts)
        for part in batch.parts:
            start = 0
            while start < len(part.rows):
                if not wants_more(found):
                    return found.all
                rows = slice(start, start + self._next_rows())
                self._predict_into(found, part.rows[rows], part.places[rows])
                start = rows.stop
        return found.all

    def _next_rows(self) -> int:
        batching = self.batching
        return batching.size or self.pace.rows(batching.call_rows)

    def _predict_into(self, found: BatchResults, rows: RowTensors, places: Sequence[int]) -> None:
        if found.late:
            keep = [n for n, place in enumerate(places) if place not in found.late]
            rows, places = rows[keep], [places[n] for n in keep]
        if len(rows):
            started = time.perf_counter()
            found.put(places, predict_rows(self.predict, rows))
            self.pace.record(len(rows), time.perf_counter() - started)

    def predict(self, rows: RowTensors) -> RowResults:
        """Return one result or failure for each of up to `batching.call_rows` rows.

        Raises:
            ModelFailed: the model raised an error, or gave another number of results than rows.
        """
        return to_results(self.predict_columns(rows))

    def predict_columns(self, rows: RowTensors) -> Predictions:
        """Return the predictions of up to `batching.call_rows` rows as columns.

        Raises:
            ModelFailed: the model raised an error, or gave another number of results than rows.
        """
        return self.to_predictions([self.outputs(rows)])

    def outputs(self, rows: RowTensors) -> list[Any]:
        """Return the outputs for up to `batching.call_rows` rows, as `call` does."""
        return call(self.session, rows, self.batching, self.signature)

    def to_predictions(self, calls: Sequence[list[Any]]) -> Predictions:
        """Return the predictions of the outputs of several calls.

        Raises:
            ModelFailed: the outputs are not what the signature says.
        """
        outputs = calls[0]
        if len(calls) > 1:
            outputs = [_joined(parts) for parts in zip(*calls, strict=True)]
        return to_predictions(
            outputs,
            self.signature,
            allow_non_finite=self.allow_non_finite,
            has_places=self.session.gives_places,
        )


def _joined(parts: Sequence[Any]) -> Any:
    """Return one output of several calls as one. Rows of other shapes become a list."""
    are_arrays = all(isinstance(each, np.ndarray) for each in parts)
    if are_arrays and len({each.shape[1:] for each in parts}) == 1:
        return np.concatenate(parts)
    return [row for each in parts for row in each]
