"""Which header field gives a request its id, and what is no id."""

import pytest

from batchline import request_ids

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def sent(**fields: str) -> str | None:
    names = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    return request_ids.sent_in([(name, value.encode("latin-1")) for name, value in names])


@pytest.mark.parametrize(
    "value",
    [
        "7b1f9a3e-5a51-4f0e-9d55-ff43ac25d0c1",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "1-5759e988-bd862e3fe1be46a994272793",
        "Root=1-67891233-abcdef012345678912345678",
        "ab+/cd==",
        "x" * 64,
    ],
)
def test_the_usual_forms_are_ids(value: str) -> None:
    assert sent(x_request_id=value) == value
    assert request_ids.is_id(value)


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 65, "two words", "a\tb", "\x1b[31m", "é", "-rf", "'quoted'", "<b>"]
)
def test_anything_else_is_ignored(value: str) -> None:
    assert sent(x_request_id=value) is None
    assert sent(x_request_id=value, traceparent=TRACEPARENT) == TRACE
    assert not request_ids.is_id(value)


def test_x_request_id_comes_before_traceparent() -> None:
    assert sent(traceparent=TRACEPARENT) == TRACE
    assert sent(traceparent=TRACEPARENT, x_request_id="mine") == "mine"
    assert sent(host="here") is None


@pytest.mark.parametrize(
    "value",
    [
        TRACEPARENT.upper(),
        TRACEPARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        TRACEPARENT[:-3],
        f"{TRACEPARENT}x",
    ],
)
def test_an_invalid_traceparent_is_ignored(value: str) -> None:
    assert sent(traceparent=value) is None


def test_a_newer_version_of_traceparent_may_have_more() -> None:
    assert sent(traceparent=f"01{TRACEPARENT[2:]}-more") == TRACE


def test_made_up_ids_are_ids_and_differ() -> None:
    made_up = {request_ids.new() for _ in range(100)}
    assert len(made_up) == 100
    assert all(map(request_ids.is_id, made_up))
