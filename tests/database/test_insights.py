"""How the service is doing, as each database tells it."""

import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy
from structlog.testing import capture_logs

from batchline import constants
from batchline.db import insights
from batchline.db.cruds import job_processes
from batchline.db.cruds.job_processes import Heartbeat, Identity
from batchline.db.database import Database
from batchline.db.insights import Insights, InsightsReader, State
from batchline.db.models import items
from batchline.errors import BatchlineError
from batchline.task.heartbeat import Heart
from batchline.task.supervisor import Board
from batchline.task.worker import Worker
from tests import models
from tests.database.test_interleavings import sql
from tests.jobs import add_model, make_job
from tests.service import wait_for

ME = Identity("here-1-x-w1", "here", 1, "0.1.0")


def insert(database: Database, count: int, *, age: timedelta = timedelta(), lane: int = 0) -> None:
    """Register items of the default model that are as old as this."""
    created = {"created_at": datetime.now(UTC) - age, "data": "[[1, 2]]", "lane": lane}
    with database.write() as connection:
        connection.execute(sqlalchemy.insert(items), [created] * count)


def beat(database: Database, heartbeat: Heartbeat) -> None:
    database.transaction(lambda c: job_processes.beat(c, ME, heartbeat))


def test_nothing_has_happened_yet(database: Database) -> None:
    found = insights.read(database)
    assert (found.pending, found.failed, found.jobs, found.last_run) == ([], {}, [], None)
    assert (found.pending_items, found.oldest_pending_age, found.next_run_at) == (0, None, None)
    assert found.assess(300).state is State.OK


def test_pending_items_are_counted_by_model_with_the_age_of_the_oldest(database: Database) -> None:
    insert(database, 2, age=timedelta(minutes=5))
    insert(database, 1, age=timedelta(hours=3), lane=1)
    sql(database, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'churn')")
    found = insights.read(database)
    assert [(each.model, each.items) for each in found.pending] == [("default", 3), ("churn", 1)]
    assert found.oldest_pending_age == pytest.approx(3 * 3600, abs=60)
    request = found.pending[0].oldest_request
    assert found.age(request) == pytest.approx(300, abs=60)


def test_a_retried_item_waits_since_its_retry(database: Database) -> None:
    insert(database, 1, age=timedelta(hours=3))
    sql(database, "UPDATE items SET retried_at = CURRENT_TIMESTAMP")
    assert insights.read(database).assess(300).state is State.OK


def test_a_request_that_waits_too_long_is_late_and_the_row_of_an_upload_is_not(
    database: Database,
) -> None:
    insert(database, 1, age=timedelta(minutes=6), lane=1)
    job_stored(database)
    assert insights.read(database).assess(300).state is State.OK
    insert(database, 1, age=timedelta(minutes=6))
    late = insights.read(database).assess(300)
    assert (late.state, late.reason) == (State.LATE, "a request waits for more than 300 s")
    assert insights.read(database).assess(600).state is State.OK


def job_stored(database: Database) -> None:
    """Store a prediction now."""
    sql(database, "INSERT INTO predictions (item_id, model_id, prediction) VALUES (999, 1, '1')")


def test_an_upload_of_which_nothing_is_stored_is_late(database: Database) -> None:
    insert(database, 1, age=timedelta(minutes=6), lane=1)
    late = insights.read(database).assess(300)
    assert late.state is State.LATE
    assert "nothing was stored for more than 300 s" in late.reason


def test_a_count_beyond_the_limit_is_a_lower_bound(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("batchline.db.insights", "batchline.db.cruds.insights"):
        monkeypatch.setattr(f"{module}.COUNTED_ITEMS", 3)
    insert(database, 3)
    found = insights.read(database)
    assert (found.pending_items, found.is_complete) == (3, True)
    insert(database, 2)
    found = insights.read(database)
    assert (found.pending_items, found.is_complete) == (3, False)


def test_failures_of_the_last_day_are_counted_by_code(database: Database) -> None:
    sql(
        database,
        "INSERT INTO failures (item_id, model_id, code, detail, created_at)"
        " VALUES (1, 1, 'timed_out', '', '1999-12-31 00:00:00')",
    )
    rows = ", ".join(f"({n}, 1, '{code}', '')" for n, code in enumerate("aab", 2))
    sql(database, f"INSERT INTO failures (item_id, model_id, code, detail) VALUES {rows}")
    assert insights.read(database).failed == {"a": 2, "b": 1}


def test_a_process_is_alive_as_long_as_it_reports(database: Database) -> None:
    beat(database, Heartbeat("waiting"))
    beat(database, Heartbeat("predicting", rows_per_second=2.5))
    (job,) = insights.read(database).jobs
    assert (job.host, job.pid, job.heartbeat.activity) == ("here", 1, "predicting")
    assert job.heartbeat.rows_per_second == 2.5
    sql(database, "UPDATE job_processes SET seen_at = '2001-01-01 00:00:00'")
    found = insights.read(database)
    assert (found.jobs, [each.pid for each in found.silent_jobs]) == ([], [1])
    other = Identity("there-1-x-w1", "there", 1, "0.1.0")
    database.transaction(lambda c: job_processes.beat(c, other, Heartbeat("waiting")))
    assert count(database) == 1  # the dead one was removed


def test_a_process_that_ended_before_the_clock_was_put_back_is_not_alive(
    database: Database,
) -> None:
    beat(database, Heartbeat("waiting"))
    sql(database, "UPDATE job_processes SET seen_at = '2037-01-01 00:00:00'")
    found = insights.read(database)
    assert (found.jobs, [each.pid for each in found.silent_jobs]) == ([], [1])
    other = Identity("there-1-x-w1", "there", 1, "0.1.0")
    database.transaction(lambda c: job_processes.beat(c, other, Heartbeat("waiting")))
    assert count(database) == 1


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM job_processes").scalar_one())


def test_runs_that_fail_are_shown_until_one_succeeds(database: Database) -> None:
    beat(database, Heartbeat("waiting", error="database_unavailable"))
    failing = insights.read(database).assess(300)
    assert failing.state is State.FAILING
    assert "database_unavailable" in failing.reason
    beat(database, Heartbeat("waiting"))
    assert insights.read(database).assess(300).state is State.OK


def test_a_model_that_could_not_be_loaded_fails_until_an_item_succeeds_again(
    database: Database,
) -> None:
    version = add_model(database, name="churn")
    sql(database, "INSERT INTO items (data, model, status) VALUES ('', 'churn', 'failed')")
    sql(database, "INSERT INTO items (data, model) VALUES ('', 'churn')")
    assert insights.read(database).assess(300).state is State.OK
    sql(
        database,
        "INSERT INTO failures (item_id, model_id, code, detail)"
        f" VALUES (1, {version.id}, 'model_unavailable', '')",
    )
    failing = insights.read(database).assess(300)
    assert failing.state is State.FAILING
    assert failing.reason == "the model churn could not be loaded"
    sql(database, "UPDATE items SET status = 'succeeded' WHERE status = 'pending'")
    assert insights.read(database).assess(300).state is State.OK


def test_reports_that_the_database_rejects_are_logged_once(database: Database) -> None:
    heart = Heart(database, ME.owner)
    sql(database, "ALTER TABLE job_processes RENAME TO hidden")
    with capture_logs() as logged:
        heart.beat()
        heart.beat()
        sql(database, "ALTER TABLE hidden RENAME TO job_processes")
        heart.beat()
        heart.beat()
    assert [each["event"] for each in logged] == [
        "heartbeats not stored",
        "heartbeats stored again",
    ]
    assert logged[0]["detail"]


def test_a_job_reports_that_it_is_alive_and_stops_when_it_ends(
    database: Database, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "doubling.onnx"))
    insert(database, 1)
    seen: list[Insights] = []
    Worker(job, threads=1, on_batch=lambda outcome: seen.append(insights.read(database))).run_once()
    ((alive,),) = [each.jobs for each in seen]
    assert (alive.host, alive.pid) == (socket.gethostname(), os.getpid())
    found = insights.read(database)
    assert found.jobs == []
    assert found.last_run is not None
    assert found.last_run.succeeded == 1
    assert found.last_stored is not None


def test_all_who_ask_within_some_seconds_get_the_same_answer(database: Database) -> None:
    now = 0.0
    reader = InsightsReader(database, lifetime=3, clock=lambda: now)
    first = reader.latest()
    insert(database, 1)
    now = 2.9
    assert reader.latest() is first
    now = 3.0
    assert reader.latest().pending_items == 1


def test_a_run_that_fails_is_news_and_so_is_the_next_one_that_does_not(database: Database) -> None:
    heart = Heart(database, ME.owner, clock=lambda: 0.0)
    assert reported(database, heart).activity == "waiting"
    heart.run_begins()
    heart.run_ended(5.0)
    assert reported(database, heart).next_run_at is not None
    for error, code in (
        (BatchlineError("no"), "internal_error"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ):
        heart.run_ended(5.0, error)
        assert reported(database, heart).error == code
    heart.run_ended(5.0)
    assert reported(database, heart).error is None


def test_runs_without_items_are_reported_every_five_seconds(database: Database) -> None:
    now = 0.0
    heart = Heart(database, ME.owner, clock=lambda: now)
    heart.run_ended(1.0)
    first = reported(database, heart).next_run_at
    now = constants.IDLE_REPORT_INTERVAL - 0.1
    heart.run_begins()
    heart.run_ended(1.0)
    assert reported(database, heart).next_run_at == first
    now = constants.IDLE_REPORT_INTERVAL
    heart.run_ended(1.0)
    assert reported(database, heart).next_run_at != first


def test_a_run_with_items_is_reported_while_it_lasts_and_at_its_end(database: Database) -> None:
    now = 0.0
    heart = Heart(database, ME.owner, clock=lambda: now)
    heart.run_ended(1.0)
    reported(database, heart)
    heart.run_begins()
    now = 2.0
    heart.predicted(10)
    during = reported(database, heart)
    assert (during.activity, during.rows_per_second) == ("predicting", 5.0)
    heart.run_ended(1.0)
    after = reported(database, heart)
    assert (after.activity, after.rows_per_second) == ("waiting", 5.0)


def reported(database: Database, heart: Heart) -> Heartbeat:
    """Let the process report once, if it has news, and return what the database has then."""
    ended = threading.Event()
    ended.set()
    heart.report_until(ended)
    (job,) = insights.read(database).jobs
    return job.heartbeat


def test_items_of_several_models_and_lanes_are_counted_apart(database: Database) -> None:
    """Of one model only, items are counted without a look at them."""
    insert(database, 3)
    insert(database, 2, lane=1)
    for model in ("churn", "iris", "churn"):
        sql(database, f"INSERT INTO items (data, model, status) VALUES ('', '{model}', 'failed')")
    sql(database, "UPDATE items SET id = id - 100 WHERE model = 'churn'")
    assert counts(database) == {"default": 5}
    sql(database, "UPDATE items SET status = 'pending' WHERE model = 'iris'")
    assert counts(database) == {"default": 5, "iris": 1}
    sql(database, "UPDATE items SET status = 'pending' WHERE model = 'churn'")
    assert counts(database) == {"default": 5, "churn": 2, "iris": 1}


def test_an_empty_name_of_a_model_is_a_name(database: Database) -> None:
    insert(database, 2)
    sql(database, "INSERT INTO items (data, model) VALUES ('', '')")
    assert counts(database) == {"default": 2, "": 1}


@pytest.mark.parametrize("models_and_lanes", [(1, 30), (30, 1)])
def test_items_of_many_models_or_lanes_are_counted(
    database: Database, models_and_lanes: tuple[int, int]
) -> None:
    models, lanes = models_and_lanes
    rows = [{"data": "", "model": f"m{n % models}", "lane": n % lanes} for n in range(60)]
    with database.write() as connection:
        connection.execute(sqlalchemy.insert(items), rows)
    assert counts(database) == {f"m{n}": 60 // models for n in range(models)}


def counts(database: Database) -> dict[str, int]:
    """The pending items by model."""
    return {each.model: each.items for each in insights.read(database).pending}


def test_a_process_shows_life_while_it_reports_also_to_a_database_that_is_down() -> None:
    board, returned = Board(), threading.Event()
    assert board.silent_for == 0  # it waits for the database, perhaps
    missing = Database("sqlite:////no-such-folder/batchline.db")
    heart = Heart(missing, "here-1-x-w1", show_life=board.show_life)
    reporting = threading.Thread(target=heart.report_until, args=(returned,))
    reporting.start()
    wait_for(lambda: board.silent_for > 0, "a sign of life")
    wait_for(lambda: board.silent_for < 0.1, "the next one")
    returned.set()
    reporting.join()
    missing.close()
    last = board.silent_for
    wait_for(lambda: board.silent_for > last, "silence")
    board.worker_starts()  # another process takes its place
    assert board.silent_for == 0
