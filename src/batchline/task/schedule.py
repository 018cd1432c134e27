"""When the next run is due. Pure: the clock is an argument."""


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
