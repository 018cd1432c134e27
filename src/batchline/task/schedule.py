"""When the next run is due. Pure: clock and chance are arguments."""

from batchline.constants import OUTAGE_FIRST_PAUSE, OUTAGE_LONGEST_PAUSE


def seconds_until_next(started: float, now: float, wait_time: float) -> float:
    """How long to wait so that runs start `wait_time` seconds apart.

    A run that took longer is followed at once by the next, and the ones that it missed are not
    made up for: they would find nothing that the next one does not.

    Args:
        started: when the last run started, in seconds of any steady clock.
        now: the same clock, now.
        wait_time: seconds between the starts of two runs.
    """
    return max(0.0, started + wait_time - now)


def seconds_after_outage(attempts: int, chance: float) -> float:
    """How long to wait before the database is tried again: twice as long each time, up to a bound.

    Args:
        attempts: how often it was tried in vain.
        chance: from 0 to 1; the random half keeps many jobs from coming back at the same moment.
    """
    longest = min(OUTAGE_LONGEST_PAUSE, OUTAGE_FIRST_PAUSE * 2.0 ** min(attempts, 16))
    return longest * (1 + chance) / 2
