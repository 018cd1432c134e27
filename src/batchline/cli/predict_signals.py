"""How a process of `predict` ends at Ctrl-C or SIGTERM."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

NOTHING_WRITTEN = "nothing was written"


def exit_at_signals() -> None:
    """Exit at once at Ctrl-C or SIGTERM, until there is something to undo.

    An exception would not do. An extension module that is being imported replaces it by its own.
    """

    def on_signal(number: int, frame: object) -> None:
        os.write(sys.stderr.fileno(), f"stopped: {NOTHING_WRITTEN}\n".encode())
        os._exit(128 + number)

    _handle(on_signal)


@contextmanager
def stopped_by_signals(message: Callable[[], str] | None = None) -> Iterator[Callable[[], None]]:
    """Leave the block at Ctrl-C or SIGTERM and exit.

    Args:
        message: returns what the output has then. None: the parent process says it.

    Returns:
        A function to call once the output is complete. From then on, both are ignored.
    """
    from batchline.scoring.supervisor import Stopped

    def on_signal(number: int, frame: object) -> None:
        _handle(signal.SIG_DFL)  # a second one ends the process at once
        # SQLAlchemy would log that it cannot close the cursor that this interrupts.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        raise Stopped(number)

    _handle(on_signal)
    try:
        yield partial(_handle, signal.SIG_IGN)
    except Stopped as stopped:
        if message:
            print(f"stopped: {message()}", file=sys.stderr)
            sys.stderr.flush()
        raise SystemExit(128 + stopped.number) from None
    except BaseException:
        _handle(signal.SIG_DFL)
        raise


def _handle(handler: Any) -> None:
    """Handle both signals, except ignored ones: a child process ignores Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
