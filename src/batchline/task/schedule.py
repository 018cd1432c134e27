"""The time of the next run. Pure: the clock and the random number are arguments."""

from batchline.constants import OUTAGE_FIRST_PAUSE, OUTAGE_LONGEST_PAUSE


def seconds_until_next(started: float, now: float, wait_time: float) -> float:
    """Return how many seconds to wait so that runs start `wait_time` seconds apart.

    After a run that took longer, the next run starts immediately. Missed runs are skipped, because
    the next run predicts everything that is pending.

    Args:
        started: the start of the last run, in seconds of a monotonic clock.
        now: the current time of the same clock.
        wait_time: seconds between the starts of two runs.
    """
    return max(0.0, started + wait_time - now)


def seconds_after_outage(attempts: int, jitter: float) -> float:
    """Return how many seconds to wait before the next attempt to reach the database.

    The wait doubles with each attempt, up to `OUTAGE_LONGEST_PAUSE`.

    Args:
        attempts: the number of failed attempts so far.
        jitter: a random number from 0 to 1, so that jobs do not all retry at the same moment.
    """
    longest = min(OUTAGE_LONGEST_PAUSE, OUTAGE_FIRST_PAUSE * 2.0 ** min(attempts, 16))
    return longest * (1 + jitter) / 2
