"""Requests that fail in the same way do not each get a line in the API's log."""

import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs
from structlog.typing import EventDict

from batchline.api.failure_log import FailureLog
from batchline.db.outage_log import OutageLog
from batchline.errors import CommitUnknown, DatabaseUnavailable, IntakeFull

FULL = IntakeFull("the write queue is full")
GONE = DatabaseUnavailable("the database does not respond", hint="start it")


def logged(fail: Callable[[FailureLog, OutageLog], None]) -> list[EventDict]:
    """The events until the API stops."""

    async def run() -> None:
        outages = OutageLog()
        failures = FailureLog(outages)
        fail(failures, outages)
        failures.close()

    with capture_logs() as events:
        asyncio.run(run())
    return events


def test_the_first_of_a_kind_is_logged_at_once_and_the_others_together() -> None:
    def fail(failures: FailureLog, outages: OutageLog) -> None:
        for number in range(1_000):
            failures.failed(FULL, "/predict", f"r{number}")
        failures.failed(CommitUnknown("no reply"), "/predict", "another")

    first, other, more = logged(fail)
    assert (first["event"], first["request_id"], first["path"]) == ("intake_full", "r0", "/predict")
    assert (other["event"], other["request_id"]) == ("commit_unknown", "another")
    assert more["requests"] == 999
    assert more["request_ids"] == ["r1", "r2", "r3", "r4", "r5"]


def test_a_kind_that_goes_on_gets_a_line_for_each_interval_and_then_begins_anew() -> None:
    async def run() -> list[int]:
        failures, lines = FailureLog(OutageLog(), interval=0.01), []
        for _ in range(2):
            failures.failed(FULL, "/predict", "a")
            failures.failed(FULL, "/predict", "b")
            while failures._repeated:
                await asyncio.sleep(0.001)
            lines.append(len(events))
        failures.close()
        return lines

    with capture_logs() as events:
        assert asyncio.run(run()) == [2, 4]
    assert [event["event"] for event in events] == [
        "intake_full",
        "more requests failed in the same way",
    ] * 2


def test_bugs_of_one_kind_have_one_traceback() -> None:
    def fail(failures: FailureLog, outages: OutageLog) -> None:
        for number in range(3):
            failures.unforeseen(KeyError(number), "/items", f"r{number}")
        failures.unforeseen(ValueError("other"), "/items", "r9")

    events = logged(fail)
    assert [isinstance(event.get("exc_info"), Exception) for event in events] == [True, True, False]
    assert [event["event"] for event in events[:2]] == ["internal_error"] * 2
    assert events[2]["requests"] == 2


def test_an_outage_is_a_line_at_its_beginning_and_one_at_its_end() -> None:
    def fail(failures: FailureLog, outages: OutageLog) -> None:
        for _ in range(3):
            outages.begin(GONE)
        for number in range(100):
            failures.failed(GONE, "/predict", f"r{number}")
        for _ in range(3):
            outages.end()

    began, ended = logged(fail)
    assert (began["event"], began["hint"]) == ("database unavailable", "start it")
    assert (ended["event"], ended["failed"]) == ("database available again", 100)
    assert ended["request_ids"] == ["r0", "r1", "r2", "r3", "r4"]


def test_without_an_outage_an_unavailable_database_is_a_kind_like_others() -> None:
    def fail(failures: FailureLog, outages: OutageLog) -> None:
        failures.failed(GONE, "/predict", "r0")

    assert [event["event"] for event in logged(fail)] == ["database_unavailable"]
