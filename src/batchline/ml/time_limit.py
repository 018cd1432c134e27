"""End calls of a model that take too long."""

import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

import onnxruntime as ort

from batchline.constants import END_CALL_TIMEOUT
from batchline.errors import BatchlineError, ConfigurationError, ModelUnavailable, TimedOut

LONGEST_POLL = 0.5


@dataclass(eq=False, slots=True)
class Call:
    """One call of a model.

    Args:
        thread: the thread that makes it.
        late_at: when it has taken too long, in seconds of a monotonic clock.
    """

    thread: int
    late_at: float
    options: ort.RunOptions = field(default_factory=ort.RunOptions)

    @property
    def is_late(self) -> bool:
        return bool(self.options.terminate)


class TimeLimit:
    """The time for one call of a model. One thread watches all calls, and ends without any.

    ONNX Runtime looks between two operators whether it was asked to end. So a loop ends at once. A
    single operator does not.

    Args:
        seconds: for one call.
        on_stuck: called with the threads whose calls do not end, and the error that these would
            have raised. It must end the process.
    """

    def __init__(
        self, seconds: float, on_stuck: Callable[[Set[int], BatchlineError], None]
    ) -> None:
        self.seconds = seconds
        self._on_stuck = on_stuck
        self._calls: set[Call] = set()
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Watch over a call that this thread makes with `options`."""
        call = Call(threading.get_ident(), time.monotonic() + self.seconds)
        with self._lock:
            self._calls.add(call)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        try:
            yield call
        finally:
            with self._lock:
                self._calls.discard(call)

    def error(self) -> BatchlineError:
        """Return what a late call raises."""
        return TimedOut(f"the model took longer than {self.seconds:g} s (MODEL_TIMEOUT)")

    def _watch(self) -> None:
        while True:
            time.sleep(min(LONGEST_POLL, self.seconds / 20))
            now = time.monotonic()
            with self._lock:
                if not self._calls:
                    self._watcher = None  # the next call starts another one
                    return
                late = [call for call in self._calls if call.late_at <= now]
            for call in late:
                call.options.terminate = True
            stuck = {call.thread for call in late if call.late_at + END_CALL_TIMEOUT <= now}
            if stuck:
                self._on_stuck(stuck, self.error())


class TrialLimit(TimeLimit):
    """The time for one call of a model that is tried. The first late call ends the trial run."""

    def error(self) -> ConfigurationError:
        """Return an error that the examination does not take for one about the rows it tried."""
        return ConfigurationError(
            f"the trial run took longer than {self.seconds:g} s (MODEL_TIMEOUT)",
            hint="give rows that the model predicts sooner with --sample ROWS.json, or raise "
            "MODEL_TIMEOUT",
        )


def not_loaded(name: str, seconds: float) -> ModelUnavailable:
    """Return the error about a model that takes too long to load."""
    return ModelUnavailable(
        f"{name} was not loaded within {seconds:g} s (MODEL_TIMEOUT)",
        hint="export the model again, or raise MODEL_TIMEOUT",
    )
