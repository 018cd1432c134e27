"""The view `results` and HTTP show the same result of an item, whatever the tables have of it."""

import json
from contextlib import closing
from itertools import product
from typing import Any

from sqlalchemy import Connection, insert, text, update

from batchline.constants import NO_VERSION, Status
from batchline.db.database import Database
from batchline.db.models import failures, items, models, predictions
from tests.api_here import ApiHere
from tests.service import migrate

VERSIONS = (1, 2, 3)
PREDICTED, FAILED, BOTH = "predicted", "failed", "both"
Results = tuple[str | None, ...]
EACH: list[tuple[Status, Results]] = [
    (status, results)
    for status in Status
    for results in product([None, PREDICTED, FAILED, BOTH], repeat=len(VERSIONS))
]
"""Every status of an item with every combination of results by three versions."""
UNCHOSEN = len(EACH) + 1
"""An item that failed before a version was chosen."""


def fill(connection: Connection) -> None:
    version = {"name": "default", "sha256": "x", "signature": '{"inputs": []}'}
    rows = [{"id": n, "version": n, **version} for n in VERSIONS]
    connection.execute(insert(models), rows)
    stored: dict[str, list[dict[str, Any]]] = {PREDICTED: [], FAILED: []}
    for item_id, (_, results) in enumerate(EACH, start=1):
        for number, found in zip(VERSIONS, results, strict=True):
            result = {"item_id": item_id, "model_id": number}
            stored[PREDICTED] += [result] if found in (PREDICTED, BOTH) else []
            stored[FAILED] += [result] if found in (FAILED, BOTH) else []
    connection.execute(
        insert(items),
        [{"data": "[]", "status": s, "custom_id": f"own-{n}"} for n, (s, _) in enumerate(EACH, 1)],
    )
    connection.execute(
        insert(predictions),
        [
            {**each, "prediction": f'{{"v": {each["model_id"]}}}', "label": "l"}
            for each in stored[PREDICTED]
        ],
    )
    connection.execute(
        insert(failures),
        [{**each, "code": f"c{each['model_id']}", "detail": "d"} for each in stored[FAILED]],
    )
    connection.execute(insert(items).values(data="[]", status=Status.FAILED))
    unchosen = {"item_id": UNCHOSEN, "model_id": NO_VERSION, "code": "c0", "detail": "d"}
    connection.execute(insert(failures).values(unchosen))


def expected(status: Status, results: Results, active: int | None) -> dict[str, Any]:
    """The active version's result counts, else the newest version's."""
    kind = {Status.SUCCEEDED: PREDICTED, Status.FAILED: FAILED}.get(status)
    have = [n for n, found in zip(VERSIONS, results, strict=True) if found in (kind, BOTH)]
    shown = None
    if kind and have:
        shown = active if active in have else max(have)
    predicted = shown is not None and kind == PREDICTED
    return {
        "status": status.value,
        "version": shown,
        "label": "l" if predicted else None,
        "prediction": {"v": shown} if predicted else None,
        "error": {"code": f"c{shown}", "detail": "d"} if shown and not predicted else None,
    }


def seen(row: Any) -> dict[str, Any]:
    """What the view shows, as HTTP writes it."""
    error = {"code": row.error_code, "detail": row.error_detail} if row.error_code else None
    return {
        "status": row.status,
        "version": row.version,
        "label": row.label,
        "prediction": row.prediction and json.loads(row.prediction),
        "error": error,
    }


def test_the_active_version_counts_else_the_newest_and_only_for_its_status(
    database_url: str,
) -> None:
    migrate(database_url)
    with closing(Database(database_url)) as database, ApiHere(database_url) as api:
        with database.write() as connection:
            connection.execute(update(models).values(active=None))
            connection.execute(text("DELETE FROM models"))
            fill(connection)
        for active in (None, *VERSIONS):
            with database.write() as connection:
                connection.execute(update(models).values(active=None))
                connection.execute(update(models).where(models.c.id == active).values(active=True))
                rows = connection.execute(text("SELECT * FROM results ORDER BY id")).all()
            page = api.http.get("/items?limit=1000").json()["items"]
            wanted = [expected(*each, active) for each in EACH]
            unchosen = expected(Status.FAILED, (None,) * 3, active)
            wanted.append(unchosen | {"error": {"code": "c0", "detail": "d"}})
            assert [seen(row) for row in rows] == wanted
            assert [{name: item[name] for name in wanted[0]} for item in page] == wanted
            for row, item in zip(rows, page, strict=True):
                assert (row.id, row.custom_id) == (item["id"], item["custom_id"])
                assert (row.finished_at is None) == (item["finished_at"] is None)
                assert (row.finished_at is None) == (item["version"] is None and not item["error"])
