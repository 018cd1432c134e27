"""Requests per second of each API key, in this process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

LONGEST_WINDOW = 3600
LONGEST_WAIT = 86_400.0
"""A client is told no longer time, however low its rate is."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Rates:
    """A token bucket for each key. A full one holds the requests of one second, and at least one.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}

    def take(self, key_id: int, rate: float) -> float:
        """Count a request. Or return the seconds until there is place for it."""
        bucket = self._filled(key_id, rate)
        if bucket.tokens < 1:
            return _seconds_for(1 - bucket.tokens, rate)
        bucket.tokens -= 1
        return 0.0

    def left(self, key_id: int, rate: float) -> tuple[int, int]:
        """Return the requests that are left, and the seconds until there are more."""
        bucket = self._filled(key_id, rate)
        missing = max(1.0, rate) - bucket.tokens
        until = min(missing, 1 - bucket.tokens) if bucket.tokens < 1 else missing
        return int(bucket.tokens), math.ceil(_seconds_for(until, rate))

    def _filled(self, key_id: int, rate: float) -> _Bucket:
        now, most = self._clock(), max(1.0, rate)
        bucket = self._buckets.setdefault(key_id, _Bucket(most, now))
        bucket.tokens = min(most, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        return bucket


def _seconds_for(requests: float, rate: float) -> float:
    return min(requests / rate, LONGEST_WAIT) if rate else LONGEST_WAIT


def policy(rate: float) -> tuple[int, int]:
    """Return a rate as requests in a number of seconds, both integers."""
    found = Fraction(rate).limit_denominator(LONGEST_WINDOW)
    return max(1, found.numerator), found.denominator
