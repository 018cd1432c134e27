"""What each API key has of its own: its items, and its idempotency keys."""

import json
from contextlib import closing

from batchline.db.database import Database
from tests.api import Client, add_key, api, bearer
from tests.service import IRIS

ROW = {"data": [IRIS]}


def owners(url: str) -> list[str | None]:
    """The name of the API key of each item, in the order of their ids."""
    query = (
        "SELECT api_keys.name FROM items LEFT JOIN api_keys ON api_keys.id = items.key_id"
        " ORDER BY items.id"
    )
    with closing(Database(url)) as database, database.read() as connection:
        return list(connection.exec_driver_sql(query).scalars())


def register(client: Client, key: str | None, idempotency_key: str) -> int:
    headers = {"Idempotency-Key": idempotency_key} | ({} if key is None else bearer(key))
    response = client.post("/predict", json=ROW, headers=headers)
    assert response.status_code == 202, response.text
    return int(response.json()["id"])


def upload(client: Client, key: str | None, idempotency_key: str) -> int:
    line = json.dumps({**ROW, "idempotency_key": idempotency_key})
    response = client.post("/items", content=line, headers={} if key is None else bearer(key))
    return int(json.loads(response.text.splitlines()[0])["ids"][0])


def test_an_item_remembers_the_key_that_registered_it(iris_url: str) -> None:
    with api(iris_url) as client:
        client.post("/predict", json=ROW)
    shop, lab = add_key(iris_url, name="shop"), add_key(iris_url, name="lab")
    with api(iris_url) as client:
        client.post("/predict", json=ROW, headers=bearer(shop))
        client.post("/items", content=f"{json.dumps(ROW)}\n" * 3, headers=bearer(lab))
    assert owners(iris_url) == [None, "shop", "lab", "lab", "lab"]


def test_two_api_keys_may_use_the_same_idempotency_key(iris_url: str) -> None:
    with api(iris_url) as client:
        of_nobody = register(client, None, "a")
        assert upload(client, None, "a") == of_nobody
    shop, lab = add_key(iris_url, name="shop"), add_key(iris_url, name="lab")
    with api(iris_url) as client:
        of_shop, of_lab = register(client, shop, "a"), register(client, lab, "a")
        assert len({of_nobody, of_shop, of_lab}) == 3
        assert (register(client, shop, "a"), upload(client, lab, "a")) == (of_shop, of_lab)
        other = client.post(
            "/predict", json={"data": [IRIS] * 2}, headers={**bearer(shop), "Idempotency-Key": "a"}
        )
        assert other.json()["code"] == "idempotency_key_reused"
    with api(iris_url, auth="off") as client:  # as before there were keys
        assert register(client, None, "a") == of_nobody
