"""Wait at start for a database that is not up yet, as after a restart of all machines."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from batchline.constants import START_PAUSE

if TYPE_CHECKING:
    from batchline.cli.stop_event import StopEvent


@dataclass(frozen=True, slots=True)
class DatabaseWait:
    """Repeats the first contact with the database until it responds.

    Args:
        seconds: the longest time to wait, `DATABASE_WAIT`.
        stop: ends the wait, and the process.
    """

    seconds: float
    stop: "StopEvent | None" = None
    _sleep: threading.Event = field(default_factory=threading.Event)

    def until(
        self, connect: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Connect, and try again for `seconds` while the database is not up.

        Raises:
            DatabaseUnavailable: it is not up after that time, or waiting does not help.
            typer.Exit: the process was asked to stop.
        """
        import structlog

        from batchline.db.dialects.errors import is_starting
        from batchline.errors import DatabaseUnavailable

        log = structlog.get_logger(__name__)
        end = clock() + self.seconds
        told = ""
        while True:
            try:
                connect()
            except DatabaseUnavailable as error:
                if clock() >= end or not is_starting(error.__cause__):
                    raise
                if error.detail != told:
                    told = error.detail
                    log.warning("waiting for the database", detail=told, seconds=self.seconds)
            else:
                if told:
                    log.warning("database available")
                return
            self._pause()

    def _pause(self) -> None:
        if self.stop is None:
            self._sleep.wait(START_PAUSE)
        elif self.stop.wait(START_PAUSE):
            raise typer.Exit(128 + self.stop.signal)
