"""A version of a model, loaded: predict a batch."""

from contextlib import suppress
from dataclasses import dataclass

import orjson

from batchline.errors import ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.data_loader import load_batch
from batchline.ml.outputs import Result, to_results
from batchline.ml.rows import RowTensors
from batchline.ml.session import Runtime, Session
from batchline.ml.signature import Signature


@dataclass(frozen=True)
class Predictor:
    """One model in one session, which many threads may call at once."""

    session: Session
    signature: Signature
    batching: Batching
    allow_non_finite: bool = False

    @classmethod
    def load(
        cls,
        content: bytes,
        name: str,
        signature: Signature,
        batching: Batching,
        *,
        runtime: Runtime | None = None,
        allow_non_finite: bool = False,
    ) -> "Predictor":
        """Open a model that was examined before.

        Raises:
            ConfigurationError: this ONNX Runtime cannot load it.
        """
        session = Session.open(content, name, runtime or Runtime())
        predictor = cls(session, signature, batching, allow_non_finite)
        predictor.warm_up()
        return predictor

    def warm_up(self) -> None:
        """Predict a row, so that the first batch does not pay for what is done only once."""
        [part] = load_batch({0: orjson.dumps(self.signature.example())}, self.signature).parts
        with suppress(ModelFailed):  # not every model takes every row
            self.predict(part.rows)

    def predict(self, rows: RowTensors) -> list[Result]:
        """One result, or failure, for each of up to `batching.call_rows` rows.

        Raises:
            ModelFailed: the model raised, or gave another number of results than rows.
        """
        per_row = [output.per_row for output in self.signature.outputs]
        outputs = call(self.session, rows, self.batching, per_row)
        names = [output.name for output in self.signature.outputs]
        return to_results(
            outputs, names, self.signature.labels, allow_non_finite=self.allow_non_finite
        )
