"""The state of the service, as `batchline status` and `/health/batch` show it.

Both read it here, so that they agree.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from batchline.constants import COUNTED_ITEMS, INSIGHTS_LIFETIME
from batchline.db.cruds import insights, job_processes
from batchline.db.cruds.claim_lock import database_time
from batchline.db.cruds.insights import LastRun, OpenBackfill, Pending
from batchline.db.cruds.job_processes import JobProcess
from batchline.db.database import Database


class State(StrEnum):
    """How the predictions are doing."""

    OK = "ok"
    LATE = "late"
    FAILING = "failing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Insights:
    """The state of the service at one moment, by the database's clock."""

    at: datetime
    pending: Sequence[Pending]
    failed: Mapping[str, int]
    """Failures of the last 24 hours, by code."""
    jobs: Sequence[JobProcess]
    silent_jobs: Sequence[JobProcess]
    """Processes that were killed or hang."""
    last_run: LastRun | None
    last_stored: datetime | None
    backfills: Sequence[OpenBackfill]
    versions: Mapping[str, int]
    not_loaded: Set[str]
    """Models of which a job could not load the active version, and no later item succeeded."""

    @property
    def pending_items(self) -> int:
        """How many items are pending: a lower bound if `is_complete` is false."""
        return min(sum(each.items for each in self.pending), COUNTED_ITEMS)

    @property
    def is_complete(self) -> bool:
        """Whether all pending items were counted."""
        return sum(each.items for each in self.pending) <= COUNTED_ITEMS

    @property
    def oldest_pending_age(self) -> float | None:
        """Seconds that the oldest pending item has waited, or None."""
        return self.age(_first(each.oldest for each in self.pending))

    @property
    def next_run_at(self) -> datetime | None:
        return _first(each.heartbeat.next_run_at for each in self.jobs)

    def age(self, since: datetime | None) -> float | None:
        """Seconds since a time, at least 0, or None."""
        return None if since is None else max(0.0, (self.at - since).total_seconds())

    def assess(self, late_after: float) -> "Assessment":
        """Return whether the predictions come in time, and the reason if they do not."""
        failing = [each for each in self.jobs if each.heartbeat.error is not None]
        if failing and len(failing) == len(self.jobs):
            error = failing[0].heartbeat.error
            return Assessment(State.FAILING, f"the last run failed with {error}")
        if self.not_loaded:
            model = min(self.not_loaded)
            return Assessment(State.FAILING, f"the model {model} could not be loaded")
        request = _first(each.oldest_request for each in self.pending)
        limit = timedelta(seconds=late_after)
        if request is not None and self.at - request > limit:
            return Assessment(State.LATE, f"a request waits for more than {late_after:g} s")
        oldest = _first(each.oldest for each in self.pending)
        stored = max(filter(None, [oldest, self.last_stored]), default=None)
        if oldest is not None and stored is not None and self.at - stored > limit:
            return Assessment(
                State.LATE, f"items wait, and nothing was stored for more than {late_after:g} s"
            )
        return Assessment(State.OK)


@dataclass(frozen=True, slots=True)
class Assessment:
    """A state and its reason, which is empty if all is well."""

    state: State
    reason: str = ""


def read(database: Database) -> Insights:
    """Read the state of the service in one transaction.

    Raises:
        Unavailable: the database does not respond, or its schema does not fit this version.
    """
    with database.read() as connection:
        now = database_time(connection)
        return Insights(
            at=now,
            pending=insights.pending(connection),
            failed=insights.failed(connection, now),
            jobs=job_processes.alive(connection, now),
            silent_jobs=job_processes.silent(connection, now),
            last_run=insights.last_run(connection),
            last_stored=insights.last_stored(connection, now),
            backfills=insights.open_backfills(connection),
            versions=insights.active_versions(connection),
            not_loaded=insights.not_loaded(connection, now),
        )


class InsightsReader:
    """Reads the state for the threads of one process, however many ask for it."""

    def __init__(
        self,
        database: Database,
        lifetime: float = INSIGHTS_LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lifetime = lifetime
        self._clock = clock
        self._reading = threading.Lock()
        self._latest: Insights | None = None
        self._read_at = 0.0

    def latest(self) -> Insights:
        """Return the state, read at most `INSIGHTS_LIFETIME` seconds ago.

        Raises:
            Unavailable: as `read`.
        """
        with self._reading:
            if self._latest is None or self._clock() - self._read_at >= self._lifetime:
                self._latest = read(self._database)
                self._read_at = self._clock()
            return self._latest


def _first(times: Iterable[datetime | None]) -> datetime | None:
    return min((each for each in times if each is not None), default=None)
