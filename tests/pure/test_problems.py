"""Every problem document of the server has a hint that fits, and keeps the database's message."""

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from fastapi import Request, Response
from structlog.testing import capture_logs

from batchline.api import problems
from batchline.api.failure_log import FailureLog
from batchline.db.outage_log import OutageLog
from batchline.errors import (
    BatchlineError,
    CommitUnknown,
    DatabaseUnavailable,
    IntakeFull,
    NoModel,
    Overloaded,
    SchemaNewer,
    SchemaOutdated,
    ShuttingDown,
    StatementFailed,
    UnknownModel,
)

SECRET = "cannot reach alice@db.internal"
UNAVAILABLE: dict[type[BatchlineError], str] = {
    SchemaOutdated: "run `batchline db upgrade`",
    SchemaNewer: "upgrade Batchline",
    NoModel: "run `batchline models add default FILE`",
    DatabaseUnavailable: "send the request again",
    IntakeFull: "send the request again",
    Overloaded: "send the request again",
    ShuttingDown: "send the request again",
    CommitUnknown: "with the same Idempotency-Key",
}


def problem_of(error: Exception, method: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(response_to(error, method).body)
    return document


def response_to(error: Exception, method: str, **headers: str) -> Response:
    async def respond() -> Response:
        state = SimpleNamespace(failures=FailureLog(OutageLog()))
        scope = {
            "type": "http",
            "method": method,
            "path": "/predict",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "app": SimpleNamespace(state=SimpleNamespace(api=state)),
        }
        return await problems.respond(Request(scope), error)

    return asyncio.run(respond())


def test_an_error_of_the_service_has_the_id_of_the_request_in_the_log() -> None:
    for error in (CommitUnknown(SECRET), ValueError(SECRET)):
        with capture_logs() as events:
            sent = response_to(error, "POST", **{"x-request-id": "shop-7"})
            made_up = response_to(error, "POST").headers["x-request-id"]
        assert sent.headers["x-request-id"] == "shop-7"
        assert [event["request_id"] for event in events] == ["shop-7", made_up]
    assert "x-request-id" not in response_to(UnknownModel("no"), "POST").headers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("kind", "hint"), UNAVAILABLE.items(), ids=lambda x: str(x))
def test_a_503_says_what_to_do_about_this_error(
    kind: type[BatchlineError], hint: str, method: str
) -> None:
    problem = problem_of(kind(SECRET, hint=f"look at {SECRET}"), method)
    assert problem["status"] == 503
    assert hint in problem["hint"]
    assert SECRET not in str(problem)


@pytest.mark.parametrize("kind", UNAVAILABLE)
def test_a_503_to_a_post_says_whether_something_was_stored(kind: type[BatchlineError]) -> None:
    outcome = "may have been stored" if kind is CommitUnknown else "Nothing was stored"
    assert outcome in problem_of(kind(SECRET), "POST")["detail"]
    assert "stored" not in problem_of(kind(SECRET), "GET")["detail"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "error", [BatchlineError(SECRET), StatementFailed(SECRET), ValueError(SECRET)], ids=repr
)
def test_a_500_has_a_hint_too(error: Exception, method: str) -> None:
    problem = problem_of(error, method)
    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert "log" in problem["hint"]
    assert SECRET not in str(problem)


def test_an_error_of_the_request_keeps_its_own_hint() -> None:
    problem = problem_of(UnknownModel("no model has the name 'x'", hint="use default"), "POST")
    assert (problem["detail"], problem["hint"]) == ("no model has the name 'x'", "use default")
