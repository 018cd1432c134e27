"""A predictor whose calls are shown, so that the rows that end the process can be found."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from batchline.constants import CALL_MAX_BYTES
from batchline.errors import ModelFailed, TimedOut, WorkerCrashed
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.scoring.call_board import CallBoard
from batchline.scoring.suspects import Call, Case, Death


class Watch:
    """Shows the calls of the threads of this process, and keeps rows that end it from the model.

    While there are suspect rows, one call is made at a time, so that the one that ends the process
    is known.
    """

    def __init__(self, board: CallBoard, case: Case) -> None:
        self.case = case
        self._board = board
        self._here = threading.local()
        self._lock = threading.Lock()

    def begin(self, part: int) -> None:
        """Begin without the suspects of the parts that are finished."""
        self.case = self.case.without_parts_before(part)

    def enter(self, part: int, block: int) -> None:
        """Say which block this thread predicts now. Its valid rows are predicted in their order."""
        self._here.call = Call(part, block, 0, 0)

    @contextmanager
    def call(self, rows: int) -> Iterator[Call]:
        """Take the next rows of the block. After an error of several rows they come again."""
        call = replace(self._here.call, rows=rows)
        try:
            with self._alone(call):
                yield call
        except ModelFailed:
            if rows > 1:
                raise
            self._here.call = call.from_(call.stop)
            raise
        self._here.call = call.from_(call.stop)

    @contextmanager
    def _alone(self, call: Call) -> Iterator[None]:
        if not self.case.suspects:
            yield
            return
        with self._lock:
            yield
            rest = [s if not s.rows_in(call) else s.from_(call.stop) for s in self.case.suspects]
            self.case = replace(self.case, suspects=tuple(each for each in rest if each.rows))

    def showing(self, call: Call) -> Any:
        return self._board.showing(call)


@dataclass(frozen=True)
class WatchedPredictor(Predictor):
    """A predictor that shows its calls."""

    watch: Watch = field(kw_only=True)

    @classmethod
    def of(cls, predictor: Predictor, watch: Watch) -> "WatchedPredictor":
        batching, limit = predictor.batching, watch.case.call_rows
        if limit is not None and batching.size is None:
            batching = replace(batching, row_bytes=max(batching.row_bytes, CALL_MAX_BYTES // limit))
        return cls(
            predictor.session,
            predictor.signature,
            batching,
            predictor.allow_non_finite,
            watch=watch,
        )

    def outputs(self, rows: RowTensors) -> list[Any]:
        """Return the outputs of rows.

        Raises:
            WorkerCrashed, TimedOut: one of the rows ended the process.
            ModelFailed: as for every predictor.
        """
        with self.watch.call(len(rows)) as call:
            if death := self.watch.case.convicted_row(call):
                raise _error(death)
            for piece in self.watch.case.pieces_of(call):
                first = piece.first - call.first
                self._try(piece, rows[first : first + piece.rows])
            with self.watch.showing(call):
                return super().outputs(rows)

    def _try(self, call: Call, rows: RowTensors) -> None:
        """Give suspect rows to the model. If they end the process, it is known that they did."""
        try:
            with self.watch.showing(call):
                super().outputs(rows)
        except ModelFailed:
            pass  # an error is no crash, and is found again


def _error(death: Death) -> ModelFailed:
    kind = TimedOut if death.code == TimedOut.code else WorkerCrashed
    return kind(death.detail)
