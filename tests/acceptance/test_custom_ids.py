"""The client's own id goes in with an item and comes back with it."""

import json
from contextlib import closing

import pytest

from batchline.db.database import Database
from tests.api_here import ApiHere, ServiceHere
from tests.conftest import SQLITE_AND_A_SERVER
from tests.service import IRIS, migrate

OWN = "Ünï-漢字 🌸 '\"%s\\"


def test_it_comes_back_everywhere(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as api:
        sent = {"data": [IRIS], "custom_id": OWN}
        first = api.http.post("/predict", json=sent).json()["id"]
        lines = [{"data": [IRIS], "custom_id": f"{OWN}{n}"} for n in range(150)]
        body = "\n".join(map(json.dumps, [*lines, {"data": [IRIS]}]))
        assert api.http.post("/items", content=body).text.count('"ids"') == 1
        assert api.read(first)["custom_id"] == OWN
        page = api.http.get("/items?limit=1000").json()["items"]
    own = [item["custom_id"] for item in page]
    assert own == [OWN, *(f"{OWN}{n}" for n in range(150)), None]


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_uploads_have_a_lane_of_their_own(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as api:
        api.register(IRIS)
        api.http.post("/items", content=json.dumps({"data": [IRIS]}))
    with closing(Database(database_url)) as database, database.read() as connection:
        lanes = connection.exec_driver_sql("SELECT lane FROM items ORDER BY id").scalars().all()
    assert lanes == [0, 1]


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_a_key_that_is_sent_with_another_custom_id_is_reused(database_url: str) -> None:
    migrate(database_url)
    key = {"Idempotency-Key": "k"}
    with ApiHere(database_url) as api:
        answers = [
            api.http.post("/predict", json={"data": [IRIS], **own}, headers=key)
            for own in ({}, {"custom_id": "a"}, {"custom_id": None})
        ]
    assert [answer.status_code for answer in answers] == [202, 422, 202]
    assert answers[0].json() == answers[2].json()


JSON_ROWS = {
    "sqlite": "json_array(json_array(a, b, c, d))",
    "mysql": "JSON_ARRAY(JSON_ARRAY(a, b, c, d))",
    "mariadb": "JSON_ARRAY(JSON_ARRAY(a, b, c, d))",
    "postgresql": "json_build_array(json_build_array(a, b, c, d))",
}


def test_sql_registers_a_table_with_its_own_keys(database_url: str, database_kind: str) -> None:
    migrate(database_url)
    with ServiceHere(database_url) as service:
        with closing(Database(database_url)) as database, database.write() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE flowers (id VARCHAR(9), a FLOAT, b FLOAT, c FLOAT, d FLOAT)"
            )
            connection.exec_driver_sql("INSERT INTO flowers VALUES ('f-1', 5.1, 3.5, 1.4, 0.2)")
            connection.exec_driver_sql(
                f"INSERT INTO items (data, custom_id) SELECT {JSON_ROWS[database_kind]}, id"
                " FROM flowers"
            )
        item = service.wait_for_result(1)
    assert (item["status"], item["label"], item["custom_id"]) == ("succeeded", "setosa", "f-1")


def test_an_odd_value_of_sql_spoils_no_page(database_url: str, database_kind: str) -> None:
    odd = ["' x '", "''", "42"] + (["x'ff00'", "4.5"] if database_kind == "sqlite" else [])
    migrate(database_url)
    with ApiHere(database_url) as api:
        with closing(Database(database_url)) as database, database.write() as connection:
            for value in odd:
                connection.exec_driver_sql(
                    f"INSERT INTO items (data, custom_id) VALUES ('[[1, 2, 3, 4]]', {value})"
                )
        page = api.http.get("/items").json()["items"]
        assert [api.read(item["id"]) for item in page] == page
    found = [item["custom_id"] for item in page]
    assert found[:3] == [" x ", "", "42"]
    assert found[3:] == (["\ufffd\0", "4.5"] if database_kind == "sqlite" else [])
