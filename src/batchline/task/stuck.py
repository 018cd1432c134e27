"""End a process in which calls of a model do not return."""

import os
import threading
from collections.abc import Callable, Set
from contextlib import suppress

import structlog

from batchline.constants import RELEASE_TIMEOUT
from batchline.errors import BatchlineError, Failure, Unavailable
from batchline.task.hand import Hand
from batchline.task.supervisor import STUCK

log = structlog.get_logger(__name__)


def end_process(
    hand: Hand, on_failed: Callable[[int], None], threads: Set[int], error: BatchlineError
) -> None:
    """Say in the database which items the threads were predicting, and exit with `STUCK`.

    If the database does not respond, the claims expire, and all of their items become suspects.

    Args:
        on_failed: called with the number of items that failed.
    """
    log.error("a call of the model does not end, so the process does", detail=error.detail)
    threading.Timer(RELEASE_TIMEOUT, os._exit, (STUCK,)).start()
    with suppress(Unavailable):
        on_failed(hand.give_up(threads, Failure(error.code, error.detail)))
    os._exit(STUCK)
