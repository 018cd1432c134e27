"""What one client may make the API hold in memory."""

import asyncio
import select
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from starlette.requests import Request

from batchline.api.bodies import BodyReader
from batchline.constants import (
    BODIES_MAX_BYTES,
    LARGE_PREDICTION_BYTES,
    MAX_BODY_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGE_ITEMS,
)
from batchline.request_errors import BodyTimeout
from tests.service import IRIS, PATIENCE, Service, migrate, wait_for


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Service]:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    with Service(url, "api") as service:
        yield service


def send_all_but_the_end(api: Service) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", api.port), timeout=30)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY_BYTES}\r\n\r\n"
    client.sendall(head.encode())
    with suppress(OSError):  # the API may refuse it before it has read everything
        client.sendall(b" " * (MAX_BODY_BYTES - 1))
    return client


def test_large_bodies_that_never_end_are_bounded_and_keep_nobody_else_out(api: Service) -> None:
    fitting = BODIES_MAX_BYTES // MAX_BODY_BYTES
    with ExitStack() as stack:
        clients = [stack.enter_context(send_all_but_the_end(api)) for _ in range(fitting + 1)]
        refused, _, _ = select.select(clients, [], [], PATIENCE)
        assert b"503" in refused[0].recv(100)
        assert api.register(IRIS) > 0

        def is_refused() -> bool:
            # The refused body may be another one, if the API has not read all of them yet.
            stack.enter_context(send_all_but_the_end(api))
            large = api.http.post("/predict", content=b" " * (MAX_BODY_BYTES - 1))
            return (large.status_code, large.json()["code"]) == (503, "intake_full")

        wait_for(is_refused, "the refusal of a large body")
    assert api.http.post("/predict", content=b" " * (MAX_BODY_BYTES - 1)).status_code == 400


def test_a_body_that_takes_too_long_is_let_go() -> None:
    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async def read() -> None:
        request = Request({"type": "http", "headers": []}, receive)
        await BodyReader(timeout=0.01).read(request)

    with pytest.raises(BodyTimeout):
        asyncio.run(read())


def test_a_page_of_large_predictions_ends_early_and_the_next_goes_on(
    api: Service, tmp_path: Path
) -> None:
    large = '"' + "x" * (MAX_PAGE_BYTES // 2) + '"'
    with sqlite3.connect(tmp_path / "batchline.db") as connection:
        for item_id, prediction in enumerate([large, "1", large, "2"], start=1):
            connection.execute("INSERT INTO items (data, status) VALUES ('[]', 'succeeded')")
            connection.execute(
                "INSERT INTO predictions (item_id, model_id, prediction) VALUES (?, 1, ?)",
                (item_id, prediction),
            )
    first = api.http.get("/items").json()
    assert [item["id"] for item in first["items"]] == [1, 2]
    assert (first["has_more"], first["last_id"]) == (True, 2)
    assert len(first["items"][0]["prediction"]) == MAX_PAGE_BYTES // 2
    assert api.http.get("/predict/id/1").json() == first["items"][0]
    second = api.http.get("/items?after=2").json()
    assert [item["id"] for item in second["items"]] == [3, 4]
    assert not second["has_more"]


def test_a_page_of_many_small_predictions_ends_early_and_the_next_goes_on(
    api: Service, tmp_path: Path
) -> None:
    prediction = '"' + "x" * (LARGE_PREDICTION_BYTES - 2) + '"'
    with sqlite3.connect(tmp_path / "batchline.db") as connection:
        for item_id in range(1, MAX_PAGE_ITEMS + 1):
            connection.execute("INSERT INTO items (data, status) VALUES ('[]', 'succeeded')")
            connection.execute(
                "INSERT INTO predictions (item_id, model_id, prediction, label)"
                " VALUES (?, 1, ?, ?)",
                (item_id, prediction, "y" * 1000),
            )
    ids, page = [], {"has_more": True, "last_id": 0}
    while page["has_more"]:
        path = f"/items?limit={MAX_PAGE_ITEMS}&after={page['last_id']}"
        response = api.http.get(path if ids else path.partition("&after")[0])
        assert len(response.content) <= MAX_PAGE_BYTES
        page = response.json()
        ids += [item["id"] for item in page["items"]]
    assert ids == list(range(1, MAX_PAGE_ITEMS + 1))
