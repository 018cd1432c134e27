"""Models that end the process which loads them. Their items are not the reason."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.registry import publish
from batchline.registry.model_file import ModelFile
from batchline.registry.version import Version
from tests import models
from tests.in_process import run_here
from tests.jobs import ACTOR, add_model, examined
from tests.service import IRIS, Command, migrate, run, wait_for

ROWS = 60
MOST_CRASHES = 4
DEATH = "a process of the job died"
BY_MODEL = "SELECT model, status, count(*) FROM items GROUP BY model, status ORDER BY model"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def add_deadly(database: Database, folder: Path, name: str) -> Version:
    """A version as a machine stores it on which the file loads."""
    file = ModelFile.read(str(models.deadly_to_load(folder / f"{name}.onnx")), None, None)
    report = examined(ModelFile.read(str(models.doubling(folder / "good.onnx")), None, None))
    return publish.add(database, name, file, report, active=True, actor=ACTOR)


def register(database: Database, *names: str, rows: int = ROWS) -> None:
    """Items of these models in turn."""
    texts = {DEFAULT_MODEL: f"[{IRIS}]"}
    new = NewItems([texts.get(each, "[[1, 2]]") for each in names] * rows, [*names] * rows)
    database.transaction(lambda connection: items.register(connection, new))


def ask(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_a_model_that_ends_its_process_is_at_fault_and_not_its_items(
    url: str, database: Database, tmp_path: Path
) -> None:
    add_deadly(database, tmp_path, "deadly")
    add_model(database, models.negated(tmp_path / "other.onnx"), name="other")
    register(database, "deadly", DEFAULT_MODEL, "other")
    done = run("job", "--once", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert ask(database, BY_MODEL) == [
        ("deadly", "failed", ROWS),
        (DEFAULT_MODEL, "succeeded", ROWS),
        ("other", "succeeded", ROWS),
    ]
    [(code, detail)] = ask(database, "SELECT DISTINCT code, detail FROM failures")
    assert code == "model_unavailable"
    assert re.fullmatch(
        r"\d processes ended while they loaded version 1 of the model deadly", str(detail)
    )
    assert done.stderr.count(DEATH) <= MOST_CRASHES
    assert "model=version 1 of the model deadly" in done.stderr.replace("'", "").replace('"', "")
    assert ask(database, "SELECT count(*) FROM claims") == [(0,)]


def test_a_running_job_does_not_try_it_again_and_a_new_job_blames_no_item_either(
    url: str, database: Database, tmp_path: Path
) -> None:
    add_deadly(database, tmp_path, "deadly")
    for _ in range(2):
        register(database, "deadly", rows=1)
        with Command("job", DATABASE_URL=url, BATCH_WAIT_TIME="0.1") as job:
            for _ in range(2):
                wait_for(lambda: not pending(database), "the failure")
                register(database, "deadly", DEFAULT_MODEL)
            wait_for(lambda: not pending(database), "the failures")
            assert 2 <= job.output.count(DEATH) <= MOST_CRASHES
    assert ask(database, "SELECT DISTINCT code FROM failures") == [("model_unavailable",)]


def pending(database: Database) -> int:
    [(count,)] = ask(database, "SELECT count(*) FROM items WHERE status = 'pending'")
    return int(str(count))


def test_a_backfill_with_it_ends(url: str, database: Database, tmp_path: Path) -> None:
    add_model(database, models.negated(tmp_path / "first.onnx"), name="m")
    register(database, "m")
    assert run_here("job", "--once", DATABASE_URL=url).returncode == 0
    add_deadly(database, tmp_path, "m")
    done = run("backfill", "m", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert f"0 items predicted, {ROWS} failed" in done.stdout
    assert ask(database, "SELECT DISTINCT code FROM failures") == [("model_unavailable",)]
    assert ask(database, BY_MODEL) == [("m", "succeeded", ROWS)]


def test_the_status_names_the_model_that_is_not_loaded(
    url: str, database: Database, tmp_path: Path
) -> None:
    add_deadly(database, tmp_path, "deadly")
    register(database, "deadly", rows=2)
    run("job", "--once", DATABASE_URL=url)
    shown = run_here("status", DATABASE_URL=url)
    assert "deadly version 1 (could not be loaded), default version 1\n" in shown.stdout
    state = json.loads(run_here("status", "--json", DATABASE_URL=url).stdout)
    assert state["models_not_loaded"] == ["deadly"]
