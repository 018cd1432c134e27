"""The parameters of `GET /items`."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_here import ApiHere
from tests.service import IRIS, HttpApi, migrate


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApi]:
    url = f"sqlite:///{tmp_path_factory.mktemp('filters') / 'batchline.db'}"
    migrate(url)
    with ApiHere(url) as service:
        for own in ("a", "b", "c"):
            service.http.post("/predict", json={"data": [IRIS], "custom_id": own})
        yield service


def get(api: HttpApi, query: str) -> Any:
    return api.http.get(f"/items?{query}")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3]),
        ("order=desc", [3, 2, 1]),
        ("order=desc&after=3&limit=1", [2]),
        ("custom_id=a&custom_id=c", [1, 3]),
        ("model=default&after=1", [2, 3]),
        ("model=x", []),
        ("code=x", []),
        ("status=pending&order=desc", [3, 2, 1]),
        ("created_after=2020-01-01", [1, 2, 3]),
        ("created_after=2020-01-01T00:00:00%2B02:00&created_before=2020-01-02T00:00:00Z", []),
        ("created_before=9999-12-31&order=desc", [3, 2, 1]),
        ("created_after=0001-01-01", [1, 2, 3]),
    ],
)
def test_a_filter_finds_its_items(api: HttpApi, query: str, ids: list[int]) -> None:
    response = get(api, query)
    assert response.status_code == 200, response.text
    assert [item["id"] for item in response.json()["items"]] == ids


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("staus=pending", "invalid_parameter"),
        ("status=lost", "invalid_parameter"),
        ("order=up", "invalid_parameter"),
        ("created_after=yesterday", "invalid_parameter"),
        ("created_after=1700000000", "invalid_parameter"),
        ("created_after=0001-01-01T00:00:00%2B02:00", "invalid_parameter"),
        ("custom_id=%00", "invalid_parameter"),
        ("&".join(f"custom_id={n}" for n in range(101)), "invalid_parameter"),
        ("status=pending&model=default", "unsupported_filters"),
        ("custom_id=a&created_after=2020-01-01", "unsupported_filters"),
        ("created_after=2020-01-01&after=99", "unknown_cursor"),
    ],
)
def test_what_no_index_answers_is_rejected(api: HttpApi, query: str, code: str) -> None:
    response = get(api, query)
    assert (response.status_code, response.json()["code"]) == (422, code)
    if code != "invalid_parameter":
        assert response.json()["hint"]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/items?staus=pending", "#/query/staus: unknown parameter"),
        ("/items?order=up", "#/query/order: expected 'asc' or 'desc'"),
        ("/items?limit=many", "#/query/limit: expected an integer"),
        ("/predict/id/first", "#/path/item_id: expected an integer"),
    ],
)
def test_an_error_says_what_a_parameter_must_be(api: HttpApi, path: str, detail: str) -> None:
    assert api.http.get(path).json()["detail"] == detail


def test_a_path_that_does_not_exist_leads_to_the_documentation(api: HttpApi) -> None:
    assert "/docs" in api.http.get("/").json()["hint"]


def test_an_unknown_parameter_of_an_item_is_rejected(api: HttpApi) -> None:
    assert api.http.get("/predict/id/1?version=1&x=2").status_code == 422
    assert api.http.get("/predict/id/1?x=2").json()["errors"][0]["pointer"] == "#/query/x"
    assert api.http.get("/predict/id/1").status_code == 200
