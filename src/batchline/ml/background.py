"""Do something with a model in another thread, which is left behind if it never ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from batchline.ml.time_limit import TrialLimit

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Begin the work in a thread that does not keep the process alive."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            found = work()
        except BaseException as error:
            _end(outcome, error)
        else:
            if not outcome.done():
                outcome.set_result(found)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def try_in_time(seconds: float, work: Callable[[TrialLimit], T]) -> T:
    """Return what the trial of a model gives. Ctrl-C interrupts it.

    If a call of the model does not end, its thread goes on until the end of the process.

    Args:
        seconds: for one call, or for loading the model.
        work: gets the limit that it must use.

    Raises:
        ConfigurationError: it took too long.
    """
    outcome: Future[T]
    limit = TrialLimit(seconds, lambda threads, error: _end(outcome, error))
    outcome = in_background(lambda: work(limit))
    return outcome.result()


def _end(outcome: "Future[T]", error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
