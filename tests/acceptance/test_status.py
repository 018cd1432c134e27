"""`batchline status` and `GET /health/batch` tell whether predictions come in time."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchline.cli import status
from tests.acceptance.test_hung_database import let_in, server
from tests.in_process import run_here
from tests.service import IRIS, Command, Service, children_of, environment, migrate, wait_for

OLD = "2001-01-01 00:00:00.000"


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(found)
    return found


def insert(url: str, created_at: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        statement = "INSERT INTO items (data, created_at) VALUES ('[[5.1, 3.5, 1.4, 0.2]]', ?)"
        connection.execute(statement, [created_at])


def in_json(url: str, **settings: str) -> tuple[int, dict[str, Any]]:
    done = run_here("status", "--json", DATABASE_URL=url, **settings)
    return done.returncode, json.loads(done.stdout)


def test_the_screen_shows_what_is_pending_what_failed_and_the_last_run(url: str) -> None:
    done = run_here("status", DATABASE_URL=url)
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["ok", "pending    0 items"]

    insert(url, OLD)
    done = run_here("status", DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stdout.startswith("late: a request waits for more than 300 s\npending    1 item,")

    assert done.stderr == "hint: no job is alive: start `batchline up` or `batchline job`\n"

    run_here("job", "--once", DATABASE_URL=url)
    done = run_here("status", DATABASE_URL=url)
    assert done.returncode == 0
    assert "1 item predicted, 0 failed" in done.stdout


def test_a_program_reads_the_state_as_json(url: str) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    insert(url, f"{an_hour_ago:%Y-%m-%d %H:%M:%S.%f}")
    code, found = in_json(url)
    assert (code, found["state"], found["pending"]) == (1, "late", {"default": 1})
    assert found["oldest_pending_age_seconds"] == pytest.approx(3600, abs=60)
    assert (found["failed"], found["jobs"], found["last_run"]) == ({}, [], None)
    assert found["next_run_at"] is None
    assert found["models"] == {"default": 1}
    assert in_json(url, BATCH_WAIT_TIME="1300")[1]["state"] == "ok"  # late after 3,900 s
    assert in_json(url, LATE_AFTER="7200")[1]["state"] == "ok"


def test_a_running_job_and_the_health_endpoint_say_the_same(url: str) -> None:
    with Service(url, BATCH_WAIT_TIME="0.1") as service:
        found = wait_for(lambda: in_json(url)[1]["jobs"], "a heartbeat")
        (job,) = found
        assert (job["host"], job["version"]) == (socket.gethostname(), "0.1.0")
        assert service.http.get("/health/batch").json() == {"status": "ok"}


def test_a_process_that_was_replaced_is_neither_alive_nor_silent(url: str) -> None:
    with Command("job", DATABASE_URL=url, BATCH_WAIT_TIME="0.1") as job:
        wait_for(lambda: in_json(url)[1]["jobs"], "a heartbeat")
        [killed] = children_of(job.process.pid)
        os.kill(killed, signal.SIGKILL)

        def is_replaced() -> bool:
            found = in_json(url)[1]
            pids = [each["pid"] for each in found["jobs"]]
            return killed not in pids == children_of(job.process.pid) and not found["silent_jobs"]

        wait_for(is_replaced, "the next process")


def test_the_screen_stays_one_whatever_models_clients_name(url: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        names = [["\x1b[2J\nok"], *([f"m{n}"] for n in range(30))]
        statement = "INSERT INTO items (data, model) VALUES ('[[1]]', ?)"
        connection.executemany(statement, [*names, *names[:1]])
    screen = run_here("status", DATABASE_URL=url).stdout
    assert "\x1b" not in screen
    assert "           ?[2J?ok: 2\n" in screen
    assert "           11 other models\n" in screen
    assert len(screen.splitlines()) < 30


def test_the_health_endpoint_is_503_while_predictions_are_late(url: str) -> None:
    insert(url, OLD)
    with Service(url, "api") as api:
        late = api.http.get("/health/batch")
        assert (late.status_code, late.json()["code"]) == (503, "predictions_late")
        assert late.json()["hint"] == "run `batchline status`"
        wait_for(lambda: "a request waits for more than" in api.output, "the reason in the log")
        assert api.http.post("/predict", json={"data": [IRIS]}).status_code == 202


def test_a_database_that_does_not_respond_is_unknown(tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path / 'missing.db'}"
    code, found = in_json(missing)
    assert (code, found["state"]) == (2, "unknown")
    assert "missing.db" in found["reason"]
    done = run_here("status", DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert done.returncode == 2
    assert done.stdout.startswith("unknown: the database postgresql")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [["status"], ["status", "--json"]])
def test_a_state_that_cannot_be_written_is_not_taken_for_late(url: str, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batchline", *words],
            env=environment(DATABASE_URL=url),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the state cannot be shown: ")
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_is_unknown_and_not_late(url: str) -> None:
    code, found = in_json(url, LATE_AFTER="soon")
    assert (code, found["state"]) == (2, "unknown")
    assert found["reason"] == "LATE_AFTER must be a valid number, got soon"
    done = run_here("status", "--watch", DATABASE_URL=url, LATE_AFTER="soon")
    assert done.returncode == 2


def test_a_silent_database_is_unknown_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "STATUS_TIMEOUT", 0.2)
    with server(let_in) as port:
        code, found = in_json(f"postgresql://x@127.0.0.1:{port}/x")
    assert (code, found["state"]) == (2, "unknown")
    assert found["reason"] == "the database did not answer within 0.2 s"


def test_watch_goes_on_until_ctrl_c(url: str) -> None:
    with Command("status", "--watch", DATABASE_URL=url) as watching:
        wait_for(lambda: watching.output.startswith("ok\n"), "the first screen")
        watching.send(signal.SIGINT)
        assert watching.wait() == 0


def test_a_run_that_goes_on_and_one_that_is_overdue_are_called_so(url: str) -> None:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("INSERT INTO runs (owner, started_at) VALUES ('x', ?)", [OLD])
        connection.execute(
            "INSERT INTO job_processes (owner, host, pid, version, activity, seen_at, next_run_at)"
            " VALUES ('x', 'here', 1, '0', 'waiting', strftime('%Y-%m-%d %H:%M:%f', 'now'), ?)",
            [f"{datetime.now(UTC) - timedelta(seconds=50):%Y-%m-%d %H:%M:%S.%f}"],
        )
    screen = run_here("status", DATABASE_URL=url).stdout
    assert "ago, not ended, 0 items predicted, 0 failed" in screen
    assert re.search(r"next run   overdue by \d+ s", screen)


def test_a_job_that_is_silent_is_named_with_what_to_do(url: str) -> None:
    insert(url, OLD)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "INSERT INTO job_processes (owner, host, pid, version, activity, seen_at)"
            " VALUES ('x', 'here', 4321, '0', 'predicting', ?)",
            [f"{datetime.now(UTC) - timedelta(minutes=4, seconds=5):%Y-%m-%d %H:%M:%S.%f}"],
        )
    done = run_here("status", DATABASE_URL=url)
    assert "jobs       0 alive, 1 silent\n" in done.stdout
    assert "silent: here, process 4321: predicting, seen 4 min ago\n" in done.stdout
    assert "If process 4321 on here hangs, run `kill -9 4321`" in done.stderr
    code, found = in_json(url)
    assert (code, found["jobs"], found["silent_jobs"][0]["pid"]) == (1, [], 4321)
