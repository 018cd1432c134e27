"""An error ends its run, and never the job."""

import threading

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from batchline.db import insights
from batchline.db.claims import Claim
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.insights import State
from batchline.db.new_items import NewItems
from batchline.errors import StatementFailed
from batchline.task.job import Job, Outcome
from batchline.task.run import Run
from batchline.task.worker import Worker
from tests.jobs import make_job
from tests.service import wait_for

REJECT = """
CREATE TRIGGER reject BEFORE INSERT ON predictions BEGIN SELECT RAISE(ABORT, 'not today'); END
"""

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def execute(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)


def predictions(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one())


def register_and_reject(database: Database) -> None:
    """Register an item whose result a trigger rejects, which is no outage."""
    database.transaction(lambda c: items.register(c, NewItems(["[[1, 2, 3, 4]]"])))
    execute(database, REJECT)


def failed_runs(logs: list[EventDict]) -> list[EventDict]:
    return [event for event in logs if event["event"].startswith("run failed")]


def test_an_error_of_any_kind_is_logged_and_the_next_run_follows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.task.worker.OUTAGE_FIRST_PAUSE", 0.01)
    job = make_job(database)
    register_and_reject(database)
    with capture_logs() as logs:
        worker = threading.Thread(target=Worker(job, threads=2).run_forever, args=(0.01,))
        worker.start()
        wait_for(lambda: len(failed_runs(logs)) >= 2, "two runs")
        execute(database, "DROP TRIGGER reject")
        wait_for(lambda: predictions(database), "a run that succeeds")
        job.stop.set()
        worker.join()
    first = failed_runs(logs)[0]
    assert isinstance(first["exc_info"], StatementFailed)
    assert first["retry_in_seconds"] >= 0


def test_a_thread_goes_on_after_an_error_while_the_run_does(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.task.run.seconds_after_outage", lambda attempts, chance: 0.01)
    job, predict = make_job(database), Job.predict
    database.transaction(lambda c: items.register(c, NewItems(["[[1, 2, 3, 4]]"] * 400)))
    monkeypatch.setattr(job.pace, "items", lambda lane: 1)
    threads: list[int] = []

    def fail_at_first(job: Job, claim: Claim) -> Outcome:
        threads.append(threading.get_ident())
        if threads.count(threading.get_ident()) == 1 and len({*threads}) == 2:
            raise ZeroDivisionError
        return predict(job, claim)

    monkeypatch.setattr(Job, "predict", fail_at_first)
    with capture_logs() as logs, pytest.raises(ZeroDivisionError):
        Run(job, 2, lambda outcome: None).execute()
    assert [each["error"] for each in logs if each["event"] == "batch failed"] == [
        "ZeroDivisionError"
    ]
    assert predictions(database) >= 399
    assert min(map(threads.count, {*threads})) > 1


def test_a_job_that_ends_by_itself_reports_that_its_runs_fail_while_it_tries_again(
    database: Database,
) -> None:
    job = make_job(database)
    register_and_reject(database)
    working = threading.Thread(target=Worker(job, threads=1).run_once)
    working.start()
    wait_for(lambda: insights.read(database).assess(300).state is State.FAILING, "the report")
    execute(database, "DROP TRIGGER reject")
    working.join()
    assert predictions(database) == 1
    assert insights.read(database).assess(300).state is State.OK


def test_the_process_for_suspects_leaves_it_to_the_worker_to_log_an_outage(
    database: Database,
) -> None:
    job = make_job(database)
    execute(database, "DROP TABLE claims")
    with capture_logs() as logs:
        Worker(job, threads=1).run_suspects()
    assert logs == []


def test_job_once_gives_up_after_some_runs_that_fail(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.task.schedule.OUTAGE_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("batchline.task.worker.OUTAGE_ATTEMPTS", 3)
    job = make_job(database)
    register_and_reject(database)
    with capture_logs() as logs, pytest.raises(StatementFailed, match="not today"):
        Worker(job, threads=2).run_once()
    assert len(failed_runs(logs)) == 2
