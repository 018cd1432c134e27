"""The models that a job process has loaded."""

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace

import structlog

from batchline.constants import MODEL_RETRY_INTERVAL
from batchline.db.database import Database
from batchline.errors import ConfigurationError, ModelUnavailable
from batchline.ml.background import in_background
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.time_limit import not_loaded
from batchline.registry.content import batching_of, read_version_content
from batchline.registry.loads import Loads, MayLoad
from batchline.registry.version import KnownVersions, Version

NO_RECORD = Loads()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loading:
    """A model that is being loaded.

    Args:
        late_at: when that has taken too long, in seconds of a monotonic clock.
        late: the error that is raised then.
    """

    outcome: Future[Predictor]
    late_at: float
    late: ModelUnavailable

    @property
    def has_ended(self) -> bool:
        return self.outcome.done()

    def wait(self) -> Predictor:
        """Return the model.

        Raises:
            ModelUnavailable: it cannot be loaded, or takes too long.
        """
        try:
            return self.outcome.result(max(0.0, self.late_at - time.monotonic()))
        except TimeoutError:
            if self.has_ended:
                raise  # an error of the load itself
            raise self.late from None


class LeftToIsolation(Exception):
    """Loading this model has ended processes, so the suspects process must do it."""


class ModelCache:
    """Loads a model when its first items are claimed. The threads of a job share it.

    A model that takes longer than `runtime.load_timeout` is left to load, and is used once it has.

    Args:
        max_bytes: bytes of all loaded model files together. Beyond that, the least recently used
            models are evicted, but never the last one.
        loads: what the processes of this job know about loading its models.
    """

    def __init__(
        self, database: Database, runtime: Runtime, max_bytes: int, loads: Loads = NO_RECORD
    ) -> None:
        self._database = database
        self._runtime = runtime
        self._max_bytes = max_bytes
        self._loads = loads
        self._reported_crashes: dict[int, int] = {}
        self._known = KnownVersions(database)
        self._loaded: OrderedDict[int, tuple[Predictor, int]] = OrderedDict()
        self._loading: dict[int, _Loading] = {}
        self._failed: dict[int, tuple[float, ModelUnavailable]] = {}
        self._lock = threading.Lock()

    def active(self) -> dict[str, Version]:
        """Return the active version of each model, by the model's name."""
        return self._known.active()

    def get(self, model_id: int) -> Version:
        """Return the version with this id."""
        return self._known.get(model_id)

    def predictor(self, version: Version) -> Predictor:
        """Return the model, and load it if necessary.

        Raises:
            ModelUnavailable: it cannot be loaded. It is not tried again for a while.
            LeftToIsolation: the suspects process must load it.
            DatabaseUnavailable: its file could not be read from the database.
        """
        with self._lock:
            if version.id in self._loaded:
                self._loaded.move_to_end(version.id)
                return self._loaded[version.id][0]
            failed_at, error = self._failed.get(version.id, (0.0, None))
            if error is not None and time.monotonic() - failed_at < MODEL_RETRY_INTERVAL:
                raise error
            loading = self._loading.get(version.id) or self._begin_to_load(version)
            self._loading[version.id] = loading
        try:
            predictor = loading.wait()
        except ModelUnavailable as error:
            self._note_failure(version, error)
            raise
        finally:
            with self._lock:
                if loading.has_ended:
                    self._loading.pop(version.id, None)
        with self._lock:
            self._failed.pop(version.id, None)
            self._loaded[version.id] = predictor, version.size
            self._evict()
        return predictor

    def _begin_to_load(self, version: Version) -> "_Loading":
        """Load it in a thread, so that models that load at once do not wait for this one."""
        seconds = self._runtime.load_timeout
        return _Loading(
            in_background(lambda: self._load(version)),
            time.monotonic() + seconds,
            not_loaded(str(version), seconds),
        )

    def _note_failure(self, version: Version, error: ModelUnavailable) -> None:
        with self._lock:
            before = self._failed.get(version.id, (0.0, None))[1]
            is_known = before is not None and before.detail == error.detail
            self._failed[version.id] = time.monotonic(), error
        if not is_known:
            log.error("model cannot be loaded", model=str(version), detail=error.detail)

    def _check_crashes(self, version: Version) -> None:
        """Raise an error if this process must not load the model."""
        may_load, crashes = self._loads.may_load(version.id), self._loads.crashes(version.id)
        if may_load is MayLoad.NO:
            raise ModelUnavailable(
                f"{crashes} processes ended while they loaded {version}",
                hint="export the model again or give the job more memory, and restart the job",
            )
        is_left = may_load is MayLoad.IN_ISOLATION
        if crashes > self._reported_crashes.get(version.id, 0):
            self._reported_crashes[version.id] = crashes
            log.warning(
                "a process ended while it loaded this model",
                model=str(version),
                times=crashes,
                next_try="in the suspects process" if is_left else "here",
            )
        if is_left:
            raise LeftToIsolation

    def _load(self, version: Version) -> Predictor:
        self._check_crashes(version)
        batching = batching_of(version)
        try:
            with self._loads.loading(version.id):
                predictor = Predictor.load(
                    read_version_content(self._database, version),
                    str(version),
                    version.signature,
                    batching,
                    runtime=replace(self._runtime, limit=None),  # `load_timeout` is for all of it
                    allow_non_finite=version.allow_non_finite,
                )
        except ConfigurationError as error:
            raise ModelUnavailable(error.detail, hint=error.hint) from error
        log.debug("model loaded", model=str(version), bytes=version.size)
        return predictor.limited(self._runtime.limit)

    def _evict(self) -> None:
        while len(self._loaded) > 1 and self._bytes() > self._max_bytes:
            self._loaded.popitem(last=False)

    def _bytes(self) -> int:
        return sum(size for _, size in self._loaded.values())
