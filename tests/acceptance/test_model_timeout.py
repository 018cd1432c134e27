"""Rows at which the model does not return, or which kill its process."""

import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from batchline.constants import DEFAULT_MODEL
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests import models
from tests.acceptance.test_endless_models import busy_child
from tests.conftest import long_only
from tests.jobs import add_model
from tests.service import (
    IRIS,
    Command,
    Service,
    children_of,
    command_line,
    migrate,
    run,
    wait_for,
)

ENDLESS = f"[[{10**12}]]"
UNSTOPPABLE = f"[[{2 * 10**6}]]"
GOOD = "[[3]]"


def prepare(folder: Path, make: Callable[[Path], Path], rows: Sequence[str]) -> dict[str, str]:
    """Rows that are pending for such a model; the settings of a job."""
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'batchline.db'}",
        "MODEL_FILEPATH": str(make(folder / "model.onnx")),
    }
    migrate(settings["DATABASE_URL"], MODEL_FILEPATH=settings["MODEL_FILEPATH"])
    register(settings["DATABASE_URL"], rows)
    return {**settings, "MODEL_TIMEOUT": "1", "BATCH_WAIT_TIME": "0.2"}


def register(url: str, rows: Sequence[str], model: str = DEFAULT_MODEL) -> None:
    database = Database(url)
    new = NewItems(list(rows), [model] * len(rows))
    database.transaction(lambda connection: items.register(connection, new))
    database.close()


def ask(settings: dict[str, str], query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(settings["DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        return connection.execute(query).fetchall()


def change(settings: dict[str, str], statement: str) -> None:
    with sqlite3.connect(settings["DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute(statement)


FAILURES = "SELECT item_id, code, detail FROM failures"
SUCCEEDED = "SELECT count(*) FROM items WHERE status = 'succeeded'"


@pytest.mark.parametrize(
    ("make", "bad"), [(models.slow, ENDLESS), (models.unstoppable, UNSTOPPABLE)]
)
def test_a_row_at_which_the_model_does_not_return_fails_alone(
    make: Callable[[Path], Path], bad: str, tmp_path: Path
) -> None:
    settings = prepare(tmp_path, make, [*[GOOD] * 10, bad, *[GOOD] * 10])
    done = run("job", "--once", **settings)
    assert (done.returncode, done.stdout) == (0, "20 items predicted, 1 failed\n"), done.stderr
    assert "hint: run `batchline failures`" in done.stderr
    reason = "the model took longer than 1 s (MODEL_TIMEOUT)"
    assert ask(settings, FAILURES) == [(11, "timed_out", reason)]
    assert ask(settings, SUCCEEDED) == [(20,)]
    assert ask(settings, "SELECT count(*) FROM claims") == [(0,)]


@pytest.mark.parametrize(
    ("make", "bad", "code"),
    [
        (models.deadly, "[[-1]]", "worker_crashed"),
        long_only((models.unstoppable, UNSTOPPABLE, "timed_out")),
    ],
)
def test_a_row_that_ends_the_process_does_not_end_a_backfill(
    make: Callable[[Path], Path], bad: str, code: str, tmp_path: Path
) -> None:
    settings = prepare(tmp_path, make, [*[GOOD] * 10, bad, *[GOOD] * 10])
    change(settings, "UPDATE items SET status = 'succeeded'")
    done = run("backfill", DEFAULT_MODEL, **settings)
    expected = "version 1 of default: 20 items predicted, 1 failed\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert [row[:2] for row in ask(settings, FAILURES)] == [(11, code)]
    assert ask(settings, "SELECT count(*) FROM predictions") == [(20,)]
    assert ask(settings, "SELECT count(*) FROM claims") == [(0,)]


def test_other_items_and_models_are_predicted_while_a_row_takes_its_time(tmp_path: Path) -> None:
    settings = prepare(tmp_path, models.slow, [ENDLESS]) | {"MODEL_TIMEOUT": "300"}
    database = Database(settings["DATABASE_URL"])
    add_model(database, models.doubling(tmp_path / "other.onnx"), name="other")
    database.close()
    with Service(**settings_of_service(settings), WORKER_THREADS="2") as service:
        wait_for(lambda: ask(settings, "SELECT 1 FROM claims"), "the claim of the endless row")
        register(service.database_url, [GOOD, GOOD])
        register(service.database_url, ["[[1, 2]]"], "other")
        wait_for(lambda: ask(settings, SUCCEEDED) == [(3,)], "the other items")
        assert ask(settings, "SELECT status FROM items WHERE id = 1") == [("pending",)]
        workers = workers_of(service.process.pid)
        service.send(signal.SIGKILL)  # it would wait for the row, as they do
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def test_up_replaces_a_worker_process_that_dies_and_serves_meanwhile(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'batchline.db'}", "BATCH_WAIT_TIME": "0.2"}
    migrate(settings["DATABASE_URL"])
    with Service(**settings_of_service(settings)) as service:
        assert service.wait_for_result(service.register(IRIS))["status"] == "succeeded"
        for _ in range(2):
            worker = wait_for(lambda: workers_of(service.process.pid), "a worker")[0]
            os.kill(worker, signal.SIGKILL)
            item_id = service.register(IRIS)
            assert service.wait_for_result(item_id)["status"] == "succeeded"
            assert worker not in workers_of(service.process.pid)


def test_a_suspects_process_that_is_killed_is_replaced(tmp_path: Path) -> None:
    settings = prepare(tmp_path, models.slow, [f"[[{3 * 10**6}]]", GOOD]) | {"MODEL_TIMEOUT": "60"}
    with Command("job", **settings) as job:
        for role in ("w", "s"):
            holds = f"SELECT 1 FROM claims WHERE owner LIKE '%-{role}_-%'"
            wait_for(lambda holds=holds: ask(settings, holds), "a claim of this process")
            os.kill(wait_for(lambda: busy_child(job), "the call of the model"), signal.SIGKILL)
        wait_for(lambda: ask(settings, SUCCEEDED) == [(2,)], "the items")
        deaths = job.output.count("a process of the job died")
        assert (deaths, job.output.count("process=suspects")) == (2, 1)


def test_up_keeps_its_api_when_a_row_kills_the_worker(tmp_path: Path) -> None:
    settings = prepare(tmp_path, models.deadly, ["[[-1]]"])
    with Service(**settings_of_service(settings)) as service:
        item = service.wait_for_result(1)
        assert item["error"]["code"] == "worker_crashed"
        assert service.process.poll() is None


def test_a_job_that_cannot_start_ends(tmp_path: Path) -> None:
    done = run("job", DATABASE_URL=f"sqlite:///{tmp_path / 'nothing.db'}", DATABASE_WAIT="3600")
    assert done.returncode == 1
    assert "batchline db upgrade" in done.stderr


def settings_of_service(settings: dict[str, str]) -> dict[str, str]:
    rest = {name: value for name, value in settings.items() if name != "DATABASE_URL"}
    return {"database_url": settings["DATABASE_URL"], **rest}


def workers_of(pid: int) -> list[int]:
    """The children of `up`'s job, which predict."""
    job = next((child for child in children_of(pid) if b"job" in command_line(child)), None)
    return [] if job is None else children_of(job)
