"""Every problem document of the server has a hint that fits, and keeps the database's message."""

import asyncio
from typing import Any

import orjson
import pytest
from fastapi import Request, Response

from batchline.api import problems
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
    request = Request({"type": "http", "method": method, "path": "/predict", "headers": []})
    response: Response = asyncio.run(problems.respond(request, error))
    document: dict[str, Any] = orjson.loads(response.body)
    return document


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
