"""Models that take their time to load, or never have loaded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db import claims
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import ModelUnavailable
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.registry.loaded import ModelCache
from batchline.registry.loads import LoadRecord, Loads, MayLoad, Place
from batchline.registry.version import Version
from batchline.task.hand import Hand
from batchline.task.job import Job, Outcome
from batchline.task.run import Run
from batchline.task.worker import Worker
from tests import models
from tests.database.test_jobs import die_with
from tests.jobs import EVERYTHING, add_model

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class Loader(ModelCache):
    """A cache of which one model does not load before it may."""

    def __init__(self, database: Database, slow: Version, seconds: float) -> None:
        super().__init__(database, Runtime(load_timeout=seconds), EVERYTHING)
        self.slow, self.may_load, self.loads = slow, threading.Event(), 0

    def _load(self, version: Version) -> Predictor:
        if version == self.slow:
            self.loads += 1
            self.may_load.wait()
        return super()._load(version)


@contextmanager
def loader(database: Database, folder: Path, seconds: float) -> Iterator[Loader]:
    slow = add_model(database, models.doubling(folder / "slow.onnx"), name="slow")
    found = Loader(database, slow, seconds)
    yield found
    found.may_load.set()


def test_a_model_that_never_loads_fails_its_own_items_only(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.negated(tmp_path / "quick.onnx"))
    new = NewItems(["[[1, 2]]"] * 4, ["slow", DEFAULT_MODEL] * 2)
    database.transaction(lambda connection: items.register(connection, new))
    with loader(database, tmp_path, seconds=1) as cache:
        job = Job(database, cache, Hand(database, "me"), threading.Event())
        outcome = Worker(job, threads=2).run_once()
    assert (outcome.succeeded, outcome.failed) == (2, 2)
    with database.read() as connection:
        failures = connection.exec_driver_sql("SELECT code, detail FROM failures").all()
    reason = "version 1 of the model slow was not loaded within 1 s (MODEL_TIMEOUT)"
    assert [tuple(each) for each in failures] == [("model_unavailable", reason)] * 2


def test_other_models_load_while_one_takes_its_time(database: Database, tmp_path: Path) -> None:
    quick = add_model(database, models.negated(tmp_path / "quick.onnx"))
    with loader(database, tmp_path, seconds=60) as cache:
        first = threading.Thread(target=lambda: cache.predictor(cache.slow), daemon=True)
        first.start()
        assert cache.predictor(quick).signature == quick.signature
        assert first.is_alive()
        cache.may_load.set()
        first.join()


def test_a_model_that_has_loaded_late_is_used(database: Database, tmp_path: Path) -> None:
    with loader(database, tmp_path, seconds=0.1) as cache:
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match=r"was not loaded within 0\.1 s"):
                cache.predictor(cache.slow)
        cache.may_load.set()
        cache._loading[cache.slow.id].outcome.result(timeout=30)
        cache._failed.clear()  # as after MODEL_RETRY_INTERVAL
        assert cache.predictor(cache.slow).signature == cache.slow.signature
        assert cache.loads == 1


def test_the_models_of_suspects_are_loaded_while_nobody_holds_them(
    database: Database, tmp_path: Path
) -> None:
    """So nobody blames an item for a job that is killed while it loads."""
    owners = []

    class Watched(ModelCache):
        def _load(self, version: Version) -> Predictor:
            with database.read() as connection:
                found = connection.exec_driver_sql("SELECT owner FROM claims").scalars()
                owners.append((version.name, set(found)))
            return super()._load(version)

    for name in (DEFAULT_MODEL, "other", "unused"):
        add_model(database, models.doubling(tmp_path / f"{name}.onnx"), name=name)
    new = NewItems(["[[1, 2]]"] * 4, [DEFAULT_MODEL, "other"] * 2)
    database.transaction(lambda connection: items.register(connection, new))
    die_with(database)
    cache = Watched(database, Runtime(), EVERYTHING)
    job = Job(database, cache, Hand(database, "me"), threading.Event())
    assert Run(job, 1, lambda outcome: None).execute_suspects().succeeded == 4
    assert owners == [(DEFAULT_MODEL, {"dead"}), ("other", {None})]


def predicted(database: Database, loads: Loads, *, suspects: bool = False) -> Outcome:
    """What a process of a job does that knows this much."""
    cache = ModelCache(database, Runtime(), EVERYTHING, loads)
    run = Run(
        Job(database, cache, Hand(database, "me"), threading.Event()), 1, lambda outcome: None
    )
    if suspects:
        return run.execute_suspects()
    run._predict_free()
    return run._outcome


def test_a_model_that_ended_the_worker_process_is_left_to_the_suspects_process(
    database: Database, tmp_path: Path
) -> None:
    deadly = add_model(database, models.doubling(tmp_path / "deadly.onnx"), name="deadly")
    add_model(database, models.negated(tmp_path / "quick.onnx"))
    record = LoadRecord()
    for _ in range(2):
        record.begin(Place.WORKER, deadly.id)
        record.process_ended(Place.WORKER, has_crashed=True)
    new = NewItems(["[[1, 2]]"] * 4, ["deadly", DEFAULT_MODEL] * 2)
    database.transaction(lambda connection: items.register(connection, new))
    assert predicted(database, Loads(record, Place.WORKER)).succeeded == 2
    with database.read() as connection:
        assert claims.has_suspects(connection)
    assert predicted(database, Loads(record, Place.ISOLATION), suspects=True).succeeded == 2
    assert record.may_load(Place.WORKER, deadly.id) is MayLoad.YES
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM claims").scalar_one() == 0
