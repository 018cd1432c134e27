"""The event that tells a command to stop, and the signals that set it."""

import os
import signal
import threading
from collections.abc import Callable, Sequence


class StopEvent(threading.Event):
    """An event that a signal sets, with the number of the signal."""

    signal: int = 0


def stop_event(
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    has_started: Callable[[], bool] = lambda: True,
) -> StopEvent:
    """Return an event that the first of these signals sets. A second one exits immediately.

    Args:
        has_started: whether there is anything to finish. Otherwise the first signal exits, too.
    """
    stop = StopEvent()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set() or not has_started():
            os._exit(128 + number)  # SystemExit would wait for the threads
        stop.signal = number
        stop.set()

    for number in signals:
        signal.signal(number, on_signal)
    return stop
