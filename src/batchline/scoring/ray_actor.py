"""A Ray actor: it holds the model and predicts one part after the other.

This module does not import Ray, so that everything but the scheduling runs without it.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from batchline import __version__
from batchline.file_errors import FileUnreadable
from batchline.files.kinds import Kind
from batchline.files.sink import Encoder
from batchline.files.source import Part
from batchline.ml.batching import Batching
from batchline.ml.content import ModelContent
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.signature import Signature
from batchline.scoring.call_board import CallBoard
from batchline.scoring.columns import Added
from batchline.scoring.local import Done, predict_part
from batchline.scoring.scorer import Scorer
from batchline.scoring.suspects import Case
from batchline.scoring.watched import Watch, WatchedPredictor

POLL_SECONDS = 1.0
READ_HINT = "put the input on a shared filesystem or name it by URL: each node reads it by its path"


@dataclass(frozen=True, slots=True)
class ActorWork:
    """Everything that an actor needs, so that it needs no file of the model.

    Args:
        packed: the bytes of the model, as `ModelContent.pack` returns them.
        timeout: seconds for one call of the model.
    """

    packed: bytes
    signature: Signature
    batching: Batching
    allow_non_finite: bool
    runtime: Runtime
    kinds: Mapping[str, Kind]
    added: Added
    name: str
    version: str
    encoder: Encoder
    keep: Sequence[str] | None
    timeout: float


class PartPredictor:
    """The actor. A row that ends its process is found by the driver."""

    def __init__(self, work: ActorWork) -> None:
        self._work = work

    def load(self) -> str:
        """Load the model, and return the version of Batchline.

        Raises:
            ConfigurationError: the ONNX Runtime of this node cannot run the model.
        """
        work = self._work
        self._board = CallBoard(1)
        self._watch = Watch(self._board, Case())
        predictor = Predictor.load(
            ModelContent.unpack(work.packed),
            f"the model {work.name}",
            work.signature,
            work.batching,
            runtime=work.runtime,
            allow_non_finite=work.allow_non_finite,
        )
        watched = WatchedPredictor.of(predictor, self._watch)
        self._scorer = Scorer(watched, work.kinds, work.added, work.name, work.version)
        threading.Thread(target=self._end_late_call, daemon=True).start()
        return __version__

    def predict(self, number: int, part: Part) -> Iterator[Done]:
        """Predict and encode the blocks of a part.

        Raises:
            FileUnreadable, SourceChanged: the file is not the one that the driver found.
        """
        work = self._work
        try:
            for done in predict_part(
                number, part, self._scorer, work.encoder, work.keep, self._watch
            ):
                yield _sendable(done)
        except FileUnreadable as error:
            raise FileUnreadable(error.detail, hint=error.hint or READ_HINT) from None

    def _end_late_call(self) -> None:
        """End the process if a call takes too long. The driver finds out which row it was."""
        while not self._board.in_progress(self._work.timeout):
            time.sleep(POLL_SECONDS)
        os._exit(1)


def _sendable(done: Done) -> Done:
    """Return a block with its text as bytes, since a view of a text cannot be sent."""
    content = done.encoded.content
    if not isinstance(content, memoryview):
        return done
    return replace(done, encoded=replace(done.encoded, content=bytes(content)))
