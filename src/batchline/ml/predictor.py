"""Predict a batch with a version of a model that has been loaded."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import orjson

from batchline.errors import ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.content import ModelContent
from batchline.ml.data_loader import Batch, load_batch, predict_rows
from batchline.ml.outputs import Result, to_results
from batchline.ml.rows import RowTensors
from batchline.ml.session import Runtime, Session
from batchline.ml.signature import Signature


@dataclass(frozen=True)
class Predictor:
    """One model in one session. Several threads may call it at once."""

    session: Session
    signature: Signature
    batching: Batching
    allow_non_finite: bool = False

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
        session = Session.open(content, name, runtime or Runtime())
        predictor = cls(session, signature, batching, allow_non_finite)
        predictor.warm_up()
        return predictor

    def warm_up(self) -> None:
        """Predict one row, so that one-time work does not slow down the first batch."""
        [part] = load_batch({0: orjson.dumps(self.signature.example())}, self.signature).parts
        with suppress(ModelFailed):  # not every model accepts every row
            self.predict(part.rows)

    def predict_batch(
        self, batch: Batch, wants_more: Callable[[int], bool] = lambda size: True
    ) -> list[Result | None]:
        """Predict all rows of a batch, in calls of up to `batching.call_rows` rows.

        Args:
            wants_more: asked before each call, with the characters of the results so far. If it
                returns False, the results of the remaining rows are None.
        """
        results: list[Result | None] = [None] * sum(batch.row_counts)
        size, rows = 0, self.batching.call_rows
        for part in batch.parts:
            for start in range(0, len(part.rows), rows):
                if not wants_more(size):
                    return results
                found = predict_rows(self.predict, part.rows[start : start + rows])
                for index, result in zip(part.places[start : start + rows], found, strict=True):
                    results[index] = result
                size += sum(map(len, [each for each in found if type(each) is str]))
        return results

    def predict(self, rows: RowTensors) -> list[Result]:
        """Return one result or failure for each of up to `batching.call_rows` rows.

        Raises:
            ModelFailed: the model raised an error, or gave another number of results than rows.
        """
        per_row = [output.per_row for output in self.signature.outputs]
        outputs = call(self.session, rows, self.batching, per_row)
        names = [output.name for output in self.signature.outputs]
        return to_results(
            outputs,
            names,
            self.signature.labels,
            probabilities=self.signature.probabilities,
            allow_non_finite=self.allow_non_finite,
        )
