"""SQL clients can store anything: one odd row changes no other item, and its own answer is JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from batchline.db.database import Database
from tests.api_here import ApiHere
from tests.service import migrate

LAST_ID = 2**63 - 1
ITEM = "INSERT INTO items (id, data, status) VALUES ({id}, '[]', '{status}')"
PREDICTED = "INSERT INTO predictions (item_id, model_id, prediction) VALUES ({id}, 1, {value})"
FAILED = "INSERT INTO failures (item_id, model_id, code, detail) VALUES ({id}, 1, {code}, {value})"
CREATED = "INSERT INTO items (id, data, created_at) VALUES ({id}, '[]', {value})"
MODEL = "INSERT INTO items (id, data, model) VALUES ({id}, '[]', {value})"

NO_JSON = [
    "'no JSON'",
    "''",
    "'[1'",
    "'NaN'",
    '\'1}, "error": null, "injected": {"a": 1\'',
    "'null, \"injected\": true'",
    "'\"\\\\ud800\"'",
]
NO_TEXT = ["CAST(x'ff' AS TEXT)", "x'ff'", "x'7b7d'", "CAST(x'22ff22' AS TEXT)"]
"""Bytes that are no UTF-8, and bytes that are no text, which SQLite lets clients store."""

TIMES = {
    "sqlite": [*NO_TEXT, "17", "1.5", "'infinity'", "'99999-01-01'", "'-0044-03-15'", "''"],
    "postgresql": [
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 BC'",
        "'10000-01-01'",
        "'294276-01-01'",
    ],
    "mysql": ["'0000-00-00'", "'2038-01-19 03:14:07.999999'"],
}
PREDICTIONS = {"sqlite": NO_JSON + NO_TEXT, "postgresql": NO_JSON, "mysql": NO_JSON}
LABELS = ["'[1'", "'{}'", "'" + "[" * 500 + "]" * 500 + "'", "'[1]'"]
FAILURES = {"sqlite": ["'x'", *NO_TEXT], "postgresql": ["''"], "mysql": ["''"]}
MODELS = {
    "sqlite": ["'a' || char(0) || 'b'", *NO_TEXT],
    "postgresql": ["''"],
    "mysql": ["concat('a', char(0), 'b')"],
}
STATUSES = {"sqlite": [], "postgresql": [], "mysql": ["", "no status"]}


def odd_rows(kind: str) -> Iterator[list[str]]:
    """Yield the statements that store one odd item, with {id} for its id."""
    for value in PREDICTIONS[kind]:
        yield [ITEM.replace("{status}", "succeeded"), PREDICTED.replace("{value}", value)]
    for label in LABELS:
        labelled = PREDICTED.replace("prediction)", "prediction, label)")
        value = f"'[{{}}, {{}}]', {label}"
        yield [ITEM.replace("{status}", "succeeded"), labelled.replace("{value}", value)]
    for value in FAILURES[kind]:
        failed = FAILED.replace("{value}", value)
        for code in ("'model_error'", value):
            yield [ITEM.replace("{status}", "failed"), failed.replace("{code}", code)]
    yield from ([CREATED.replace("{value}", value)] for value in TIMES[kind])
    yield from ([MODEL.replace("{value}", value)] for value in MODELS[kind])
    yield from ([ITEM.replace("{status}", status)] for status in STATUSES[kind])


def store(database: Database, kind: str) -> list[int]:
    """Store good items and odd ones in turn. Return the ids of the odd ones."""
    found = [LAST_ID, 0, -1, 1 - 2**63]
    with database.write() as connection:
        if kind == "mysql":
            connection.exec_driver_sql("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")

        def run(statement: str, **values: Any) -> None:
            for name, value in values.items():
                statement = statement.replace(f"{{{name}}}", str(value))
            connection.exec_driver_sql(statement.replace("%", "%%"))

        for item_id, statements in enumerate(odd_rows(kind), start=1):
            found.append(2 * item_id)
            for statement in statements:
                run(statement, id=2 * item_id)
            run(ITEM, id=2 * item_id + 1, status="succeeded")
            run(PREDICTED, id=2 * item_id + 1, value="'{\"a\":1.5}'")
        for item_id in found[:4]:
            run(ITEM, id=item_id, status="succeeded")
            run(PREDICTED, id=item_id, value="'{}'")
    return found


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql", "mysql"], indirect=True)
def test_an_odd_row_changes_no_other_and_its_own_answer_is_json(
    database_url: str, database_kind: str
) -> None:
    migrate(database_url)
    database = Database(database_url)
    odd = set(store(database, database_kind))
    with database.read() as connection:
        ids = set(connection.execute(text("SELECT id FROM items")).scalars())
    database.close()
    with ApiHere(database_url) as api:
        page = api.http.get("/items", params={"limit": 1000})
        assert page.status_code == 200, page.text
        shown = {item["id"]: item for item in json.loads(page.content)["items"]}
        assert shown.keys() == ids
        for item_id, item in shown.items():
            assert api.read(item_id) == item
            assert "injected" not in item
            if item_id not in odd:
                assert (item["status"], item["prediction"]) == ("succeeded", {"a": 1.5})
                assert item["created_at"].startswith("20")
        assert api.is_ready()
