"""Jobs inside of the test's process, on models that are added as users add them."""

import threading
from collections.abc import Callable
from pathlib import Path

from batchline.constants import DEFAULT_MODEL, IRIS_LABELS, IRIS_MODEL
from batchline.db.database import Database
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.prediction_texts import RowResults
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.ml.runtime import Runtime
from batchline.registry import publish
from batchline.registry.loaded import ModelCache
from batchline.registry.model_file import ModelFile
from batchline.registry.version import Version
from batchline.task.hand import Hand
from batchline.task.job import Job

ACTOR = "cli:tester@here"
EVERYTHING = 2**40
EXAMINED: dict[tuple[str, str], ModelReport] = {}


def add_model(
    database: Database,
    model: Path = IRIS_MODEL,
    labels: Path | None = None,
    *,
    name: str = DEFAULT_MODEL,
    active: bool = True,
    choices: Choices | None = None,
) -> Version:
    """The version that this file is; added if it was not there yet."""
    file = ModelFile.read(str(model), IRIS_LABELS if model == IRIS_MODEL else labels, choices)
    return publish.add(database, name, file, examined(file), active=active, actor=ACTOR)


def examined(file: ModelFile) -> ModelReport:
    """What `models add` finds out. The tests have few models, so it is kept."""
    known = file.sha256, file.options
    if known not in EXAMINED:
        EXAMINED[known] = file.examine(None, None)
    return EXAMINED[known]


def make_job(
    database: Database,
    model: Path = IRIS_MODEL,
    labels: Path | None = None,
    owner: str = "me",
    choices: Choices | None = None,
) -> Job:
    """A job, for which this model has been published as the active default one."""
    add_model(database, model, labels, choices=choices)
    models = ModelCache(database, Runtime(), EVERYTHING)
    return Job(database, models, Hand(database, owner), threading.Event())


def active(job: Job, name: str = DEFAULT_MODEL) -> Version:
    """The version that the job would predict with."""
    return job.models.active()[name]


class Watched(ModelCache):
    """Versions of which one is always the active one, or whose predictions are watched."""

    def __init__(
        self,
        database: Database,
        *,
        before: Callable[[], None] = lambda: None,
        only: Version | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        super().__init__(database, Runtime(), EVERYTHING)
        self._before, self.only, self._predictor = before, only, predictor

    def active(self) -> dict[str, Version]:
        return super().active() if self.only is None else {DEFAULT_MODEL: self.only}

    def predictor(self, version: Version) -> Predictor:
        real = self._predictor or super().predictor(version)
        return _Watched(real.session, real.signature, real.batching).calling(self._before)


class _Watched(Predictor):
    def calling(self, before: Callable[[], None]) -> "_Watched":
        object.__setattr__(self, "_before", before)
        return self

    def predict(self, rows: RowTensors) -> RowResults:
        self._before()  # type: ignore[attr-defined]
        return super().predict(rows)
