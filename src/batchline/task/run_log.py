"""The log of runs that failed: a line for each, with one traceback for all that fail alike."""

import structlog

from batchline.db.outage_log import OutageLog
from batchline.errors import Unavailable

log = structlog.get_logger(__name__)


class RunLog:
    """Logs the errors of a job's runs.

    Args:
        outages: logs when an outage begins and when it ends. The runs in between are counted.
    """

    def __init__(self, outages: OutageLog) -> None:
        self._outages = outages
        self._last = ""

    def succeeded(self) -> None:
        """Log the end of an outage, if there was one."""
        self._outages.end()
        self._last = ""

    def failed(self, error: Exception, pause: float) -> None:
        """Log the error of a run, after which the job waits for `pause` seconds."""
        if isinstance(error, Unavailable):
            self._outages.begin(error)
            self._outages.count()
            return
        kind = f"{type(error).__qualname__}: {error}"
        failed = log.bind(error=type(error).__qualname__, retry_in_seconds=round(pause, 1))
        if kind == self._last:
            failed.error("run failed again")
        else:
            failed.error("run failed", exc_info=error)
        self._last = kind
