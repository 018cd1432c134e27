"""End a process in which calls of a model do not return."""

import os
import threading
from collections.abc import Callable, Set
from contextlib import suppress

import structlog

from batchline.constants import RELEASE_TIMEOUT
from batchline.errors import BatchlineError, ClaimLost, Failure, Unavailable
from batchline.task import counts
from batchline.task.failures import Failed, log_each
from batchline.task.hand import Hand
from batchline.task.supervisor import STUCK

log = structlog.get_logger(__name__)


def end_process(
    hand: Hand,
    on_failed: Callable[[int], None],
    threads: Set[int],
    error: BatchlineError,
    *,
    put_off: bool = False,
) -> None:
    """Say in the database which items the threads were predicting, and exit with `STUCK`.

    If the database does not respond, the claims expire, and all of their items become suspects.

    Args:
        on_failed: called with the number of items that failed.
        put_off: whether an item in isolation is tried again after the other suspects.
    """
    log.error("a call of the model does not end, so the process does", detail=error.detail)
    threading.Timer(RELEASE_TIMEOUT, os._exit, (STUCK,)).start()
    with suppress(Unavailable, ClaimLost):
        failure = None if put_off else Failure(error.code, error.detail)
        failed = hand.give_up(threads, failure)
        on_failed(len(failed))
        counts.ended_a_process(hand.database, failed, error.code)
        if failed:
            log_each(hand.database, {error.code: Failed.of(failed)})
    os._exit(STUCK)
