"""What a client with limits gets, and what the others notice of it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import closing

from batchline.api_keys import Role
from batchline.constants import KEYS_LIFETIME, UPLOAD_BLOCK_BYTES
from batchline.db.cruds import keys
from batchline.db.database import Database
from tests.api import add_key, api, bearer, revoke_key
from tests.service import IRIS

ROW = {"data": [IRIS]}
LINE = json.dumps(ROW)


class Clock:
    """A clock that the test sets forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def test_too_many_requests_are_refused_with_the_time_to_wait(iris_url: str) -> None:
    busy, other = add_key(iris_url, rate=0.01, name="busy"), add_key(iris_url, name="other")
    with api(iris_url) as client:
        client.state.quotas._rates._clock = lambda: 1.0  # no time passes between two requests
        first = client.post("/predict", json=ROW, headers=bearer(busy))
        assert first.status_code == 202
        assert first.headers["ratelimit-policy"] == '"requests";q=1;w=100'
        assert first.headers["ratelimit"] == '"requests";r=0;t=100'
        second = client.get("/items", headers=bearer(busy))
        assert (second.status_code, second.json()["code"]) == (429, "rate_limited")
        assert second.headers["retry-after"] == "100"
        assert second.headers["ratelimit"] == '"requests";r=0;t=100'
        free = client.get("/items", headers=bearer(other))
        assert free.status_code == 200
        assert "ratelimit" not in free.headers


def test_a_request_that_the_role_does_not_allow_counts_as_a_use_of_the_key(iris_url: str) -> None:
    read = add_key(iris_url, Role.READ, rate=0.01)
    with api(iris_url) as client:
        statuses = [
            client.post("/predict", json=ROW, headers=bearer(read)).status_code for _ in range(2)
        ]
    assert statuses == [403, 429]
    with closing(Database(iris_url)) as database, database.read() as connection:
        assert keys.read(connection)[0].last_used_at is not None


def test_a_key_registers_its_items_of_the_day_and_no_more(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=3)
    with api(iris_url) as client:
        for left in (2, 1, 0):
            stored = client.post("/predict", json=ROW, headers=bearer(key))
            assert stored.status_code == 202
            assert stored.headers["ratelimit"].startswith(f'"items";r={left};t=')
        assert stored.headers["ratelimit-policy"] == '"items";q=3;w=86400;qu="items"'
        for path in ("/predict", "/items"):
            refused = client.post(path, json=ROW, headers=bearer(key))
            assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
            assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert client.get("/predict/id/3", headers=bearer(key)).status_code == 200
    with api(iris_url) as client:  # as another process, which reads what the first has counted
        assert client.post("/predict", json=ROW, headers=bearer(key)).status_code == 429


def test_what_is_not_stored_does_not_count(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=1)
    with api(iris_url) as client:
        for body in ({"data": [[1]]}, {"data": [IRIS], "model": "none"}):
            assert client.post("/predict", json=body, headers=bearer(key)).status_code != 202
        sent = {**bearer(key), "Idempotency-Key": "a"}
        assert client.post("/predict", json=ROW, headers=sent).status_code == 202


def test_an_upload_stops_at_the_line_that_is_too_many(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=5)
    lines = [LINE, "{}", LINE, "", LINE, LINE, LINE, "{}", LINE, LINE]
    with api(iris_url) as client:
        response = client.post("/items", content="\n".join(lines), headers=bearer(key))
        *told, end = map(json.loads, response.text.splitlines())
        assert (end["done"], end["lines"], end["registered"], end["rejected"]) == (False, 8, 5, 2)
        assert (end["from_line"], end["error"]["code"]) == (9, "quota_exceeded")
        assert "from line 9" in end["error"]["hint"]
        assert sum(part["ids"][1] - part["ids"][0] + 1 for part in told if "ids" in part) == 5
        assert client.get("/items", headers=bearer(key)).json()["last_id"] == 5
        assert client.post("/items", content=LINE, headers=bearer(key)).status_code == 429


def keyed(key: str, idempotency_key: str) -> dict[str, str]:
    return {**bearer(key), "Idempotency-Key": idempotency_key}


def test_a_repeat_gets_its_id_although_no_items_are_left(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=1)
    other = {"data": [[6.7, 3.0, 5.2, 2.3]]}
    with api(iris_url) as client:
        first = client.post("/predict", json=ROW, headers=keyed(key, "a"))
        repeats = [client.post("/predict", json=ROW, headers=keyed(key, "a")) for _ in range(2)]
        assert [(each.status_code, each.json()) for each in repeats] == [(202, first.json())] * 2
        assert repeats[1].headers["ratelimit"].startswith('"items";r=0;')
        for new in (("b", ROW), ("a", other)):
            refused = client.post("/predict", json=new[1], headers=keyed(key, new[0]))
            assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert client.get("/items", headers=bearer(key)).json()["last_id"] == 1


def test_a_repeat_does_not_count_as_an_item(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=2)
    with api(iris_url) as client:
        statuses = [
            client.post("/predict", json=ROW, headers=keyed(key, each)).status_code
            for each in ("a", "a", "a", "b", "c")
        ]
    assert statuses == [202, 202, 202, 202, 429]


def test_a_repeat_counts_as_a_request(iris_url: str) -> None:
    key = add_key(iris_url, rate=0.01, items_per_day=1)
    with api(iris_url) as client:
        client.state.quotas._rates._clock = clock = Clock()
        first = client.post("/predict", json=ROW, headers=keyed(key, "a"))
        refused = client.post("/predict", json=ROW, headers=keyed(key, "a"))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        clock.ahead += float(refused.headers["retry-after"])
        repeat = client.post("/predict", json=ROW, headers=keyed(key, "a"))
        assert (repeat.status_code, repeat.json()) == (202, first.json())


def test_lines_that_were_stored_before_leave_their_place_to_new_ones(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=5)
    lines = [json.dumps({**ROW, "idempotency_key": f"line-{number}"}) for number in range(8)]
    lines[4:4] = ["{}"]
    with api(iris_url) as client:
        client.post("/items", content="\n".join(lines[:3]), headers=bearer(key))
        response = client.post("/items", content="\n".join(lines), headers=bearer(key))
        *told, end = map(json.loads, response.text.splitlines())
        assert [part["ids"] for part in told if "ids" in part] == [[1, 3], [4, 4], [5, 5]]
        assert (end["done"], end["lines"], end["registered"], end["rejected"]) == (False, 6, 5, 1)
        assert (end["from_line"], end["error"]["code"]) == (7, "quota_exceeded")
        known = client.post("/items", content="\n".join(lines[:6]), headers=bearer(key))
        assert json.loads(known.text.splitlines()[-1])["registered"] == 5
        assert client.post("/items", content=lines[6], headers=bearer(key)).status_code == 429
        assert client.get("/items", headers=bearer(key)).json()["last_id"] == 5


def test_an_upload_may_register_exactly_what_is_left(iris_url: str) -> None:
    key = add_key(iris_url, items_per_day=5)
    with api(iris_url) as client:
        response = client.post("/items", content=f"{LINE}\n" * 5, headers=bearer(key))
        assert json.loads(response.text.splitlines()[-1])["done"] is True


def test_an_upload_ends_when_its_key_is_revoked(iris_url: str) -> None:
    """It began with a valid key, so only its next group shows that this has changed."""
    key = add_key(iris_url, name="shop")

    async def lines() -> AsyncIterator[bytes]:
        yield f"{LINE}\n".encode() * 2 * (UPLOAD_BLOCK_BYTES // len(LINE))
        revoke_key(iris_url, "shop")
        clock.ahead += KEYS_LIFETIME
        yield f"{LINE}\n".encode() * 2 * (UPLOAD_BLOCK_BYTES // len(LINE))

    clock = Clock()
    with api(iris_url) as client:
        client.state.keys._clock = clock
        response = client.post("/items", content=lines(), headers=bearer(key))
        end = json.loads(response.text.splitlines()[-1])
        assert (end["done"], end["error"]["code"]) == (False, "unauthorized")
        assert end["registered"] > 0
        assert end["from_line"] == end["registered"] + 1


def test_an_upload_to_an_open_api_ends_when_the_first_key_is_created(iris_url: str) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield f"{LINE}\n".encode() * 2 * (UPLOAD_BLOCK_BYTES // len(LINE))
        add_key(iris_url)
        clock.ahead += KEYS_LIFETIME
        yield f"{LINE}\n".encode() * 2 * (UPLOAD_BLOCK_BYTES // len(LINE))

    clock = Clock()
    with api(iris_url) as client:
        client.state.keys._clock = clock
        response = client.post("/items", content=lines())
        end = json.loads(response.text.splitlines()[-1])
        assert (end["done"], end["error"]["code"]) == (False, "unauthorized")
        assert end["registered"] > 0
