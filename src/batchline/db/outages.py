"""Wait for a database that is unavailable, as a run that takes hours has to."""

import random
import time

from sqlalchemy.exc import DBAPIError

from batchline.constants import OUTAGE_ATTEMPTS, OUTAGE_FIRST_PAUSE, OUTAGE_LONGEST_PAUSE
from batchline.db.dialects import errors
from batchline.errors import BatchlineError


class Patience:
    """Counts failures in a row, and waits a little longer after each."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures after a success."""
        self._failures = 0

    def wait(self, error: BatchlineError) -> None:
        """Wait, or raise the error if waiting does not help or has not helped."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, DBAPIError):
            cause = cause.__cause__
        self._failures += 1
        if cause is None or not errors.is_outage(cause) or self._failures >= OUTAGE_ATTEMPTS:
            raise error
        pause = min(OUTAGE_FIRST_PAUSE * 2 ** (self._failures - 1), OUTAGE_LONGEST_PAUSE)
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311, not a secret
