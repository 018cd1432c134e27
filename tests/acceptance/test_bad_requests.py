"""Every line of the contract's list of errors, through HTTP."""

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonpointer import resolve_pointer

from batchline.constants import MAX_BODY_BYTES, MAX_ROWS_PER_ITEM
from tests import models
from tests.api_here import ApiHere, ServiceHere
from tests.service import IRIS, HttpApi, Service, migrate


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApi]:
    folder: Path = tmp_path_factory.mktemp("bad-requests")
    url = f"sqlite:///{folder / 'batchline.db'}"
    migrate(url)
    with ApiHere(url) as service:
        yield service


def post(api: HttpApi, body: str) -> Any:
    return api.http.post(
        "/predict", content=body.encode(), headers={"Content-Type": "application/json"}
    )


def row(value: str) -> str:
    return f'{{"data": [[5.1, 3.5, 1.4, 0.2], [5.1, {value}, 1.4, 0.2]]}}'


REFUSED = {
    "a text": (row('"3.5"'), "/data/1/1", "not_a_number"),
    "true": (row("true"), "/data/1/1", "not_a_number"),
    "null": (row("null"), "/data/1/1", "not_a_number"),
    "an object": (row("{}"), "/data/1/1", "not_a_number"),
    "NaN": (row("NaN"), "/data/1/1", "not_a_number"),
    "infinity": (row("-Infinity"), "/data/1/1", "not_finite"),
    "1e999": (row("1e999"), "/data/1/1", "not_finite"),
    "more than a float32": (row("1e39"), "/data/1/1", "out_of_range"),
    "a long integer": (row("9" * 400), "/data/1/1", "not_finite"),
    "too deep": (row("[3.5]"), "/data/1/1", "nested_too_deep"),
    "too narrow": ('{"data": [[5.1, 3.5, 1.4]]}', "/data/0", "wrong_width"),
    "too wide": ('{"data": [[5.1, 3.5, 1.4, 0.2, 1]]}', "/data/0", "wrong_width"),
    "ragged": ('{"data": [[5.1, 3.5, 1.4, 0.2], []]}', "/data/1", "wrong_width"),
    "a row that is a number": ('{"data": [5.1, 3.5, 1.4, 0.2]}', "/data/0", "wrong_shape"),
    "no rows": ('{"data": []}', "/data", "no_rows"),
    "data that is null": ('{"data": null}', "/data", "wrong_shape"),
    "data without the input": ('{"data": {}}', "/data/X", "missing_input"),
    "another input": ('{"data": {"X": [[1, 2, 3, 4]], "Y": 1}}', "/data/Y", "unknown_input"),
    "data that is a text": ('{"data": "x"}', "/data", "wrong_shape"),
    "a model that is no text": ('{"data": [[1, 2, 3, 4]], "model": 1}', "/model", "not_a_text"),
    "a custom id that is no text": (
        '{"data": [[1, 2, 3, 4]], "custom_id": 1}',
        "/custom_id",
        "not_a_text",
    ),
    "a custom id that is empty": (
        '{"data": [[1, 2, 3, 4]], "custom_id": ""}',
        "/custom_id",
        "invalid_custom_id",
    ),
    "too many rows": (
        f'{{"data": {[IRIS] * (MAX_ROWS_PER_ITEM + 1)}}}',
        "/data",
        "too_many_rows",
    ),
    "a field too many": ('{"data": [[1, 2, 3, 4]], "a/b": 1}', "/a~1b", "unknown_field"),
    "half a character": ('{"data": [[1, 2, 3, "\\ud800"]]}', "/data/0/3", "not_a_number"),
    "half a character as a field": (
        '{"data": [[1, 2, 3, 4]], "\\ud800": 1}',
        "/?",
        "unknown_field",
    ),
    "a body that is a list": ("[[5.1, 3.5, 1.4, 0.2]]", "", "wrong_shape"),
}


@pytest.mark.parametrize(("body", "pointer", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_model_cannot_take_is_refused_with_a_pointer(
    api: HttpApi, body: str, pointer: str, code: str
) -> None:
    response = post(api, body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (422, "invalid_data")
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == (pointer, code)
    assert problem["errors"][0]["detail"] in problem["detail"]


def test_the_pointer_leads_to_the_value(api: HttpApi) -> None:
    body = {"data": [IRIS, [5.1, "x", 1.4, 0.2]]}
    pointer = api.http.post("/predict", json=body).json()["errors"][0]["pointer"]
    assert resolve_pointer(body, pointer) == "x"


def test_several_faults_are_told_at_once(api: HttpApi) -> None:
    errors = api.http.post("/predict", json={"data": [[1, 2], [None, 1, 2, 3]]}).json()["errors"]
    assert [error["pointer"] for error in errors] == ["/data/0", "/data/1/0"]


def test_missing_data_is_named(api: HttpApi) -> None:
    errors = api.http.post("/predict", json={"dta": [IRIS]}).json()["errors"]
    assert [(e["pointer"], e["code"]) for e in errors] == [
        ("/data", "missing"),
        ("/dta", "unknown_field"),
    ]


@pytest.mark.parametrize("body", ["", "{", "hello", '{"data": [[1,2,3,4]]'])
def test_what_is_no_json_is_400(api: HttpApi, body: str) -> None:
    response = post(api, body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")
    assert response.json()["detail"].startswith("not valid JSON: ")


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"data": [[100000000000000000000, 1, 1, 1]]}',
        b'{"data": Infinity, "data": [[1000000000000000000000000000000, 1, 1, 1]]}',
        '{"data": [[1, 2, 3, 4]]}'.encode("utf-16"),
    ],
)
def test_what_only_looks_like_json_is_not_accepted(api: HttpApi, body: bytes) -> None:
    response = api.http.post("/predict", content=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


def test_numbers_that_grow_when_they_are_written_out_are_413_not_a_late_failure(
    tmp_path: Path,
) -> None:
    model = models.doubling(tmp_path / "wide.onnx", width=1_000)
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url, MODEL_FILEPATH=str(model))
    with ApiHere(url) as service:
        rows = ",".join(["[" + ",".join(["1e15"] * 1_000) + "]"] * 600)
        response = post(service, f'{{"data": [{rows}]}}')
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_a_client_that_hangs_up_in_the_middle_is_nobodys_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    with Service(url, "api") as api:
        with socket.create_connection(("127.0.0.1", api.port)) as client:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            )
        assert api.register(IRIS) > 0
        assert "internal_error" not in api.output


def test_bytes_that_are_no_text_are_400(api: HttpApi) -> None:
    response = api.http.post("/predict", content=b'{"data": "\xff"}')
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_absurd_nesting_is_refused(api: HttpApi, depth: int) -> None:
    response = post(api, '{"data": ' + "[" * depth + "]" * depth + "}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("/data")


def test_a_body_too_large_is_413(api: HttpApi) -> None:
    response = post(api, '{"data": "' + "x" * MAX_BODY_BYTES + '"}')
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_a_body_too_large_of_unknown_length_is_413(api: HttpApi) -> None:
    chunks = (b"x" * 65536 for _ in range(MAX_BODY_BYTES // 65536 + 1))
    response = api.http.post("/predict", content=chunks)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("item_id", ["0", "-1", "999999", "9" * 30])
def test_an_unknown_id_is_404(api: HttpApi, item_id: str) -> None:
    response = api.http.get(f"/predict/id/{item_id}")
    assert (response.status_code, response.json()["code"]) == (404, "item_not_found")
    assert response.headers["content-type"] == "application/problem+json"


def test_an_unknown_path_is_a_problem_too(api: HttpApi) -> None:
    response = api.http.get("/nothing/here")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert api.http.get("/predict").json()["code"] == "method_not_allowed"
    assert api.http.get("/predict").headers["allow"] == "POST"
    assert api.http.delete("/items").headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", f"after={2**63}", "after=" + "9" * 30, "status=done"],
)
def test_parameters_that_do_not_fit_are_named(api: HttpApi, query: str) -> None:
    response = api.http.get(f"/items?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert query.split("=")[0] in response.json()["errors"][0]["pointer"]


def test_nothing_of_a_refused_request_is_stored(api: HttpApi) -> None:
    before = len(api.http.get("/items").json()["items"])
    for body, _, _ in REFUSED.values():
        post(api, body)
    assert len(api.http.get("/items").json()["items"]) == before


def test_integers_are_numbers_too(api: HttpApi) -> None:
    assert api.http.post("/predict", json={"data": [[5, 3, 1, 0]]}).status_code == 202


def test_the_documentation_describes_every_endpoint(api: HttpApi) -> None:
    assert api.http.get("/docs").status_code == 200
    paths = api.http.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/predict",
        "/predict/id/{item_id}",
        "/items",
        "/health/live",
        "/health/ready",
        "/health/batch",
        "/metrics",
        "/models",
        "/models/{name}",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{name}",
        "/v2/models/{name}/ready",
    }


def test_items_that_sql_clients_left_without_a_prediction_can_be_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    with ApiHere(url) as service:
        with sqlite3.connect(tmp_path / "x.db") as connection:
            for status in ("succeeded", "failed"):
                connection.execute("INSERT INTO items (data, status) VALUES ('[]', ?)", (status,))
        assert [item["prediction"] for item in service.http.get("/items").json()["items"]] == [
            None,
            None,
        ]


def test_a_text_of_bytes_that_are_none_fails_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    with ServiceHere(url) as service:
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute(
                "INSERT INTO items (data) VALUES (CAST(x'5bff5d' AS TEXT)), ('[[1, 2, 3, 4]]')"
            )
        assert service.wait_for_result(1)["error"]["code"] == "invalid_json"
        assert service.wait_for_result(2)["status"] == "succeeded"
