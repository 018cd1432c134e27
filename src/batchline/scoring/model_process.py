"""Call a model in a process of its own, which a row may end without an effect on the run.

A run that reads a query cannot start again behind the row that ended it. So the run stays here, and
only the calls of the model are made elsewhere.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from batchline.errors import (
    BatchlineError,
    ConfigurationError,
    ModelFailed,
    TimedOut,
    WorkerCrashed,
)
from batchline.file_errors import RunStopped
from batchline.ml.batching import Batching
from batchline.ml.content import ModelContent
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.ml.runtime import Runtime
from batchline.ml.signature import Signature
from batchline.processes import end_in_words

CERTAIN_EXITS = {-signal.SIGFPE, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGBUS, -signal.SIGABRT}
"""Ends that a process causes itself. SIGKILL can have another cause, such as a lack of memory."""
TRIES = 3
"""Calls with a single row before it is blamed for an end that is not certain."""
START_SECONDS = 120.0
"""For a process to import ONNX Runtime and to load the model."""
MAX_ENDED_FIRST = 5
"""Rows that may end their process before any call has returned."""
MAX_ENDED = 100
"""Rows that may end their process. Each takes a few starts, about a second each."""


@dataclass(frozen=True, slots=True)
class ModelCopy:
    """The facts that a process needs to call the same model.

    Args:
        content: returns the bytes of the model.
    """

    content: Callable[[], ModelContent]
    sha256: str
    signature: Signature
    batching: Batching
    runtime: Runtime

    def load(self) -> Predictor:
        """Return a predictor of the same model.

        Raises:
            ConfigurationError: its file cannot be read any more, or has changed.
        """
        content = self.content()
        if content.sha256 != self.sha256:
            raise ConfigurationError("the model file has changed during the run")
        return Predictor.load(
            content, "the model", self.signature, self.batching, runtime=self.runtime
        )


class _Ended(Exception):
    """The process ended during a call."""

    def __init__(self, code: int) -> None:
        self.is_certain = code in CERTAIN_EXITS
        super().__init__(f"the model ended its process ({end_in_words(code)})")


class ModelProcess:
    """A process with one copy of the model, for one thread. It starts in the background."""

    def __init__(self, model: ModelCopy) -> None:
        context = multiprocessing.get_context("spawn")  # this process has threads, so no fork
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(model, there), daemon=True)
        # Ctrl-C reaches the run, which ends this process.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._is_ready = False
        there.close()

    def has_started(self) -> bool:
        """Wait until it has loaded the model. Return whether it has, or was killed meanwhile.

        Raises:
            RunStopped: it cannot load the model.
        """
        problem = "" if self._is_ready else f"it takes more than {START_SECONDS:g} s"
        try:
            if problem and self._here.poll(START_SECONDS):
                problem = self._here.recv()
        except EOFError:
            return False
        if problem:
            self.end()
            raise RunStopped(f"the process that calls the model does not start: {problem}")
        self._is_ready = True
        return True

    def call(self, rows: RowTensors, seconds: float) -> list[Any]:
        """Return the outputs for these rows.

        Raises:
            ModelFailed: the model raised an error, or the call took longer than `seconds`.
            _Ended: the process ended.
        """
        try:
            self._here.send(rows)
            if not self._here.poll(seconds):
                self.end()
                raise TimedOut(f"the model took longer than {seconds:g} s (MODEL_TIMEOUT)")
            found: list[Any] | tuple[type[ModelFailed], str] = self._here.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise _Ended(self._process.exitcode or 0) from None
        if isinstance(found, tuple):
            kind, detail = found
            raise kind(detail)
        return found

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._here.close()


def _serve(model: ModelCopy, connection: Connection) -> None:
    """Answer each batch of rows with its outputs or its error, until the run has ended."""
    with suppress(EOFError, ConnectionError):
        try:
            predictor = model.load()
        except BatchlineError as error:
            connection.send(error.detail)
            return
        connection.send("")
        while True:
            connection.send(_outputs(predictor, connection.recv()))


def _outputs(predictor: Predictor, rows: RowTensors) -> list[Any] | tuple[type[ModelFailed], str]:
    try:
        return predictor.outputs(rows)
    except ModelFailed as error:
        return type(error), error.detail


class ModelProcesses:
    """One process for each thread that calls the model.

    Args:
        seconds: for one call.
    """

    def __init__(self, model: ModelCopy, seconds: float) -> None:
        self._model = model
        self._seconds = seconds
        self._own = threading.local()
        self._all = [ModelProcess(model)]  # starts while the input is opened
        self._unused = [*self._all]
        self._lock = threading.Lock()
        self._returned = False
        self._ended = 0

    def outputs(self, rows: RowTensors) -> list[Any]:
        """Return the outputs for these rows.

        Raises:
            WorkerCrashed, TimedOut: they ended the process, or took too long.
            ModelFailed: as for every predictor.
            RunStopped: too many rows ended it.
        """
        for attempt in range(1, TRIES + 1):
            try:
                found = self._process().call(rows, self._seconds)
                self._returned = True
                return found
            except TimedOut as error:
                self._blame(rows, error)
                raise
            except _Ended as ended:
                if len(rows) > 1 or ended.is_certain or attempt == TRIES:
                    crash = WorkerCrashed(str(ended))
                    self._blame(rows, crash)
                    raise crash from None
        raise AssertionError

    def _process(self) -> ModelProcess:
        for _ in range(TRIES):
            process: ModelProcess | None = getattr(self._own, "process", None)
            if process is None or not process.is_alive:
                with self._lock:
                    process = self._unused.pop() if self._unused else self._start()
                self._own.process = process
            if process.has_started():
                return process
            self._own.process = None
        raise RunStopped(f"the process that calls the model was killed {TRIES} times at its start")

    def _start(self) -> ModelProcess:
        process = ModelProcess(self._model)
        self._all = [*(each for each in self._all if each.is_alive), process]
        return process

    def _blame(self, rows: RowTensors, error: ModelFailed) -> None:
        if len(rows) > 1:
            return  # they come again in smaller calls
        with self._lock:
            self._ended += 1
        if self._ended >= (MAX_ENDED if self._returned else MAX_ENDED_FIRST):
            raise RunStopped(f"{self._ended} rows failed: {error.detail}")

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            for process in self._all:
                process.end()


@dataclass(frozen=True)
class IsolatedPredictor(Predictor):
    """A predictor that makes its calls in other processes."""

    processes: ModelProcesses = field(kw_only=True)

    @classmethod
    def of(cls, predictor: Predictor, processes: ModelProcesses) -> "IsolatedPredictor":
        return cls(
            predictor.session,
            predictor.signature,
            predictor.batching,
            predictor.allow_non_finite,
            processes=processes,
        )

    def outputs(self, rows: RowTensors) -> list[Any]:
        """Return the outputs of rows, as `ModelProcesses.outputs` does."""
        return self.processes.outputs(rows)
