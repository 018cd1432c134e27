"""`Idempotency-Key`: a request that is sent again is not registered again."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from batchline.db.database import Database
from tests import models
from tests.api_here import ApiHere
from tests.conftest import SQLITE_AND_A_SERVER
from tests.jobs import add_model
from tests.service import IRIS, HttpApi, Service, migrate

OTHER = [6.7, 3.0, 5.2, 2.3]


def post(api: HttpApi, key: str | bytes, *rows: list[float]) -> tuple[int, object]:
    response = api.http.post(
        "/predict", json={"data": list(rows or [IRIS])}, headers={"Idempotency-Key": key}
    )
    return response.status_code, response.json().get("id") or response.json()["code"]


def count_items(url: str) -> int:
    database = Database(url)
    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM items").scalar_one()
    database.close()
    return int(found)


def add_version(url: str, model: Path) -> None:
    database = Database(url)
    add_model(database, model, name="m")
    database.close()


def test_the_same_key_and_data_answer_the_same_id(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as api:
        first = post(api, "a")
        assert first[0] == 202
        assert post(api, "a") == first
        assert post(api, "A") != first  # keys are told apart by every byte, in any collation
        assert post(api, "b")[0] == 202
        assert post(api, "a", OTHER) == (422, "idempotency_key_reused")
    with ApiHere(database_url) as restarted:
        assert post(restarted, "a") == first
    assert count_items(database_url) == 3


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_known_key_answers_its_id_after_a_version_with_other_inputs(
    database_url: str, tmp_path: Path
) -> None:
    migrate(database_url)
    add_version(database_url, models.doubling(tmp_path / "pairs.onnx", width=2))
    bodies = [{"data": [[1, 2]]}, {"data": {"x": [[1, 2]]}}, {"data": [{"x": [1, 2]}]}]
    # After as many lines as are halved if one of them is invalid.
    lines = [
        json.dumps({**body, "model": "m", "idempotency_key": f"line-{n}"})
        for n, body in enumerate(bodies * 20)
    ]

    def send(api: HttpApi) -> tuple[list[Any], list[Any]]:
        headers = [{"Idempotency-Key": f"key-{n}"} for n in range(len(bodies))]
        sent = [
            api.http.post("/predict", json={**body, "model": "m"}, headers=header)
            for body, header in zip(bodies, headers, strict=True)
        ]
        upload = api.http.post("/items", content="\n".join(lines)).text.splitlines()
        return [(each.status_code, each.json()) for each in sent], list(map(json.loads, upload))

    with ApiHere(database_url) as api:
        first = send(api)
    assert {status for status, _ in first[0]} == {202}
    assert first[1][-1]["registered"] == len(lines)
    add_version(database_url, models.doubling(tmp_path / "triples.onnx", width=3))
    with ApiHere(database_url) as api:
        assert send(api) == first
        new = {"model": "m", "data": [[1, 2]], "idempotency_key": "line-new"}
        other = {"model": "m", "data": [[1, 3]], "idempotency_key": "line-0"}
        for body in (new, other):
            rejected, end = api.http.post("/items", json=body).text.splitlines()
            assert json.loads(rejected)["error"]["code"] == "invalid_data"
            assert json.loads(end)["registered"] == 0
            key = body["idempotency_key"].replace("line", "key")
            sent = {"data": body["data"], "model": "m"}
            response = api.http.post("/predict", json=sent, headers={"Idempotency-Key": key})
            assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert count_items(database_url) == len(bodies) + len(lines)


def test_one_key_sent_by_many_at_once_is_one_item(database_url: str) -> None:
    migrate(database_url)
    with (
        Service(database_url, "api") as one,
        ApiHere(database_url) as other,
        ThreadPoolExecutor(16) as pool,
    ):
        sent = [pool.submit(post, api, f"key-{n}") for n in range(10) for api in (one, other) * 4]
        answers = [future.result() for future in sent]
    assert {status for status, _ in answers} == {202}
    assert len({item_id for _, item_id in answers}) == 10
    assert count_items(database_url) == 10


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_registrations_with_and_without_keys_may_come_together(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as api, ThreadPoolExecutor(16) as pool:
        keyed = [pool.submit(post, api, f"key-{n}") for n in range(40)]
        plain = [pool.submit(api.register, IRIS) for _ in range(40)]
        ids = [future.result()[1] for future in keyed] + [future.result() for future in plain]
    assert len(set(ids)) == 80
    assert count_items(database_url) == 80


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApi]:
    """For headers, of which no database knows."""
    url = f"sqlite:///{tmp_path_factory.mktemp('keys') / 'batchline.db'}"
    migrate(url)
    with ApiHere(url) as api:
        yield api


def test_a_key_that_cannot_be_used_is_400(api: HttpApi) -> None:
    for key in ("", "x" * 256, b"caf\xc3\xa9", b"a\tb"):
        assert post(api, key) == (400, "invalid_idempotency_key"), key


def test_spaces_around_a_header_are_not_part_of_its_key(api: HttpApi) -> None:
    def status_and_body(key: str) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", api.port)  # httpx refuses such headers
        client.request("POST", "/predict", json.dumps({"data": [IRIS]}), {"Idempotency-Key": key})
        response = client.getresponse()
        found = response.status, response.read()
        client.close()
        return found

    plain = status_and_body("a b")
    assert plain[0] == 202
    assert status_and_body("  a b \t") == plain
    assert status_and_body("   ")[0] == 400
