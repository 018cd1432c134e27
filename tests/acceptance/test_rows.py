"""Rows as people have them, over HTTP and by SQL, on each database."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import pytest
from sqlalchemy import create_engine, text

from batchline.db.database import Database
from batchline.ml.examination.report import Choices
from tests import models
from tests.conftest import SQLITE_AND_A_SERVER
from tests.jobs import add_model
from tests.service import HttpApi, wait_for

OSLO = {"age": 47, "income": 1200.5, "height": 1.8, "city": "Oslo"}
GAPS = {"age": None, "income": None, "height": 1.8, "city": None}

VALID: dict[str, Any] = {
    "one record": OSLO,
    "records": [OSLO, {"city": "Rome", "height": 2, "income": 7, "age": 1}],
    "missing values": [GAPS, OSLO],
    "columns": {"age": [47, None], "income": [1, 2], "height": [1, 1], "city": ["a", "b"]},
    "inputs by name": {"age": [[47]], "income": [[1]], "height": [[1]], "city": [["a"]]},
    "no value and no list": {"age": [[47]], "income": [1], "height": [1.0], "city": ["a"]},
}

FAULTS: dict[str, tuple[Any, str, str]] = {
    "a name is missing": ([OSLO, {"age": 1}], "/1/income", "missing_input"),
    "a name is misspelt": (OSLO | {"hieght": 1}, "/hieght", "unknown_input"),
    "a value may not be missing": (OSLO | {"height": None}, "/height", "not_a_number"),
    "a number is a string": ([OSLO, OSLO | {"age": "47"}], "/1/age", "not_a_number"),
    "a number is a truth value": (OSLO | {"age": True}, "/age", "not_a_number"),
    "a number is too large": (OSLO | {"age": 1e39}, "/age", "out_of_range"),
    "a string is a number": (OSLO | {"city": 7}, "/city", "not_a_text"),
    "a value is an object": (OSLO | {"city": {}}, "/city", "not_a_text"),
    "a row is no record": ([OSLO, 7], "/1", "wrong_shape"),
    "rows are lists": ([[47, 1200.5, 1.8, "Oslo"]], "", "wrong_shape"),
    "columns differ in length": (
        {"age": [47, 1], "income": [1, 2], "height": [1], "city": ["a", "b"]},
        "",
        "wrong_row_count",
    ),
    "a column has a bad value": (
        {"age": [47, "x"], "income": [1, 2], "height": [1, 1], "city": ["a", "b"]},
        "/age/1",
        "not_a_number",
    ),
    "there are no rows": ({"age": [], "income": [], "height": [], "city": []}, "/age", "no_rows"),
}


@pytest.fixture
def people(tmp_path: Path, service: HttpApi) -> Path:
    """A model with named columns, of which age and income may be missing, and the city too."""
    file = models.imputing(tmp_path / "people.onnx")
    add(service, "people", file, Choices(missing_text=("nowhere",)))
    return file


def add(service: HttpApi, name: str, file: Path, choices: Choices) -> None:
    database = Database(service.database_url)
    add_model(database, file, name=name, choices=choices)
    database.close()


def insert(service: HttpApi, texts: list[str]) -> list[int]:
    """Insert items as an SQL client does, and return their ids."""
    engine = create_engine(service.database_url)
    statement = text("INSERT INTO items (data, model) VALUES (:data, 'people')")
    with engine.begin() as connection:
        for data in texts:
            connection.execute(statement, {"data": data})
        ids = connection.execute(text("SELECT id FROM items ORDER BY id DESC")).scalars().all()
    engine.dispose()
    return sorted(ids[: len(texts)])


def expected(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What ONNX Runtime itself gives with NaN and the word for a missing string."""
    session = onnxruntime.InferenceSession(model)
    found = []
    for row in rows:
        feeds = {
            name: np.array([[np.nan if row[name] is None else row[name]]], np.float32)
            for name in ("age", "income", "height")
        }
        feeds["city"] = np.array([[row["city"] or "nowhere"]], object)
        total, town = session.run(["sum", "town"], feeds)
        found.append({"sum": [float(str(total[0, 0]))], "town": town[0].tolist()})
    return found


def done(service: HttpApi, item_id: int) -> dict[str, Any]:
    return wait_for(
        lambda: item if (item := service.read(item_id))["status"] != "pending" else None,
        f"the prediction of item {item_id}",
    )


def rows_of(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, list):
        return data
    columns = {name: np.ravel(np.array(values, object)) for name, values in data.items()}
    count = len(columns["age"])
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def test_rows_in_every_form_are_predicted_over_http_and_by_sql(
    service: HttpApi, people: Path
) -> None:
    by_http = []
    for data in VALID.values():
        response = service.http.post("/predict", json={"model": "people", "data": data})
        assert response.status_code == 202, response.text
        by_http.append(response.json()["id"])
    by_sql = insert(service, [orjson.dumps(data).decode() for data in VALID.values()])
    for data, *ids in zip(VALID.values(), by_http, by_sql, strict=True):
        results = expected(people, rows_of(data))
        for item_id in ids:
            item = done(service, item_id)
            assert item["error"] is None
            assert item["prediction"] == (results if len(results) > 1 else results[0])


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_each_fault_of_a_row_names_its_place_over_http_in_a_file_and_by_sql(
    service: HttpApi, people: Path
) -> None:
    bodies = [{"model": "people", "data": data} for data, _, _ in FAULTS.values()]
    good = {"model": "people", "data": OSLO}
    lines = b"\n".join(map(orjson.dumps, [good, *bodies, good]))
    told = service.http.post("/items", content=lines).text.splitlines()
    rejected = [line for line in map(orjson.loads, told) if "error" in line]
    by_sql = insert(service, [orjson.dumps(body["data"]).decode() for body in bodies])
    for number, (body, (_, pointer, code)) in enumerate(
        zip(bodies, FAULTS.values(), strict=True), start=2
    ):
        response = service.http.post("/predict", json=body)
        assert response.status_code == 422
        first = response.json()["errors"][0]
        assert (first["pointer"], first["code"]) == (f"/data{pointer}", code)
        line = next(each for each in rejected if each["lines"] == [number, number])
        assert line["error"]["errors"] == response.json()["errors"]
        error = done(service, by_sql[number - 2])["error"]
        assert error["code"] == "invalid_data"
        assert error["detail"].startswith(f"data{pointer}: {first['detail']}")
    assert orjson.loads(told[-1])["registered"] == 2


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_nan_is_null_over_http_and_no_json_by_sql(service: HttpApi, people: Path) -> None:
    body = b'{"model": "people", "data": {"age": NaN, "income": 1, "height": 1, "city": "NaN"}}'
    sent = [service.http.post("/predict", content=body), service.http.post("/items", content=body)]
    ids = [sent[0].json()["id"], orjson.loads(sent[1].text.splitlines()[0])["ids"][0]]
    row = {"age": None, "income": 1, "height": 1, "city": "NaN"}
    for item_id in ids:
        assert done(service, item_id)["prediction"] == expected(people, [row])[0]
    engine = create_engine(service.database_url)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT data FROM items ORDER BY id")).scalars().all()
    engine.dispose()
    assert [orjson.loads(data) for data in stored] == [row, row]
    (item_id,) = insert(service, ['{"age": NaN, "income": 1, "height": 1, "city": "x"}'])
    error = done(service, item_id)["error"]
    assert error["code"] == "invalid_json"
    assert error["detail"].endswith("Hint: write null for a missing value")


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_names_beyond_those_of_the_model_are_left_out_of_what_is_stored(
    service: HttpApi, people: Path
) -> None:
    body = {"model": "people", "data": [OSLO | {"id": 7, "note": "x"}]}
    assert service.http.post("/predict", json=body).status_code == 422
    item_id = service.http.post("/predict", json=body | {"extra": "ignore"}).json()["id"]
    assert done(service, item_id)["status"] == "succeeded"
    engine = create_engine(service.database_url)
    with engine.connect() as connection:
        data = connection.execute(text("SELECT data FROM items")).scalar_one()
    engine.dispose()
    assert orjson.loads(data) == [OSLO]


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_a_version_with_its_columns_in_another_order_reads_records_right(
    service: HttpApi, tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{name}.onnx" for name in ("first", "second"))
    models.doubling(first)
    models.doubling(second)
    for file, names in ((first, "a,b"), (second, "b,a")):
        add(service, "pairs", file, Choices(features=tuple(names.split(","))))
        body = {"model": "pairs", "data": {"a": 1, "b": 2}}
        # The API may take a moment to see the new version; records have no order to be misread.
        item = done(service, service.http.post("/predict", json=body).json()["id"])
        in_order = [2, 4] if names == "a,b" else [4, 2]
        assert item["prediction"] == {"doubled": in_order}
