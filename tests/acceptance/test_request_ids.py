"""The id of a request is stored with its items."""

import json
from contextlib import closing

import pytest

from batchline.db.database import Database
from tests.api_here import ApiHere
from tests.conftest import SQLITE_AND_A_SERVER
from tests.service import IRIS, migrate

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def stored(database_url: str) -> list[str | None]:
    with closing(Database(database_url)) as database, database.read() as connection:
        query = "SELECT request_id FROM items ORDER BY id"
        return list(connection.exec_driver_sql(query).scalars())


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_it_is_stored_with_each_item_of_the_request(database_url: str) -> None:
    migrate(database_url)
    trace = f"00-{TRACE}-00f067aa0ba902b7-01"
    with ApiHere(database_url) as api:
        body = {"data": [IRIS]}
        for headers in (
            {"X-Request-ID": "shop-7"},
            {"traceparent": trace},
            {"traceparent": trace, "X-Request-ID": "shop-8", "Idempotency-Key": "once"},
            {"X-Request-ID": "not an id"},
            {},
        ):
            response = api.http.post("/predict", json=body, headers=headers)
            assert response.status_code == 202, response.text
        lines = "\n".join([json.dumps(body)] * 2)
        api.http.post("/items", content=lines, headers={"X-Request-ID": "file-1"})
    assert stored(database_url) == [
        *("shop-7", TRACE, "shop-8", None, None),
        *("file-1", "file-1"),
    ]


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_a_request_that_is_repeated_leaves_the_item_its_first_id(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as api:
        for request_id in ("first", "second"):
            headers = {"Idempotency-Key": "once", "X-Request-ID": request_id}
            api.http.post("/predict", json={"data": [IRIS]}, headers=headers)
    assert stored(database_url) == ["first"]
