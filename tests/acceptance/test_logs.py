"""The log has a line for each thing that happens, however many requests and items it happens to."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests.conftest import SQLITE_AND_A_SERVER, Servers, first_of
from tests.in_process import run_here
from tests.service import IRIS, Service, migrate, wait_for

Event = dict[str, Any]


def events(service: Service, level: str = "") -> list[Event]:
    found = [json.loads(line) for line in service.output.splitlines() if line.startswith("{")]
    return [event for event in found if level in ("", event["level"])]


def insert(database_url: str, data: str, request_ids: list[str | None], model: str = "") -> None:
    """Register items as an SQL client does, which the API would have rejected."""
    new = NewItems(
        [data] * len(request_ids),
        models=[model] * len(request_ids) if model else (),
        request_ids=request_ids,
    )
    with closing(Database(database_url)) as database:
        database.transaction(lambda c: items.register(c, new))


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_a_run_logs_one_line_for_each_kind_of_failure(database_url: str) -> None:
    migrate(database_url)
    insert(database_url, f"[{IRIS}]", ["well"] * 10)
    insert(database_url, '["planted"]', [None, *(f"shop-{n}" for n in range(2_000))])
    insert(database_url, f"[{IRIS}]", ["file-1", "file-1", "\x1b[2J forged\n"], model="gone")
    done = run_here("job", "--once", DATABASE_URL=database_url, LOG_FORMAT="json")
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    failed = {each["code"]: each for each in found if each["level"] == "warning"}
    assert len(failed) == len([each for each in found if each["level"] == "warning"]) == 2
    invalid, unknown = failed["invalid_data"], failed["unknown_model"]
    assert (invalid["event"], invalid["role"], invalid["items"]) == ("items failed", "job", 2_001)
    assert invalid["item_ids"] == [11, 12, 13, 14, 15]
    assert invalid["request_ids"] == ["shop-0", "shop-1", "shop-2", "shop-3"]
    assert unknown["items"] == 3
    assert unknown["request_ids"] == ["file-1"]
    assert "planted" not in done.stderr
    assert len([each for each in found if each["event"] == "run finished"]) == 1


def test_an_error_without_a_hint_has_none_in_its_line() -> None:
    program = (
        "from batchline import logs; import structlog; logs.configure('INFO', 'console', 'job');"
        "log = structlog.get_logger(); log.error('a', hint='', x=''); log.error('b', hint='c')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second = done.stderr.splitlines()
    assert "hint" not in first
    assert "x=" in first
    assert "hint=c" in second


def test_a_client_writes_no_long_line_and_no_line_of_its_own(iris_url: str) -> None:
    with Service(iris_url, "api", LOG_FORMAT="json") as api:
        with sqlite3.connect(iris_url.removeprefix("sqlite:///")) as connection:
            connection.execute("DROP TABLE models")
        path = "/models/%0a%1b[31m" + "y" * 20_000
        wait_for(lambda: api.http.get(path).status_code >= 500, "an error")
        wait_for(lambda: [each for each in events(api) if "path" in each], "its line")
        assert all(line.startswith("{") for line in api.output.splitlines())
        assert max(map(len, api.output.splitlines())) < 5_000
        assert "\x1b" not in api.output


def roles(service: Service, event: str) -> list[str]:
    return [each["role"] for each in events(service) if each["event"] == event]


@pytest.mark.parametrize("kind", first_of(["postgresql", "mysql", "mariadb"]))
def test_an_outage_is_one_line_at_its_beginning_and_one_at_its_end(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    migrate(url)
    create = ("keys", "create", "shop", "--role", "admin", "--items-per-day", "1000")
    key = run_here(*create, DATABASE_URL=url).stdout.strip()
    with Service(url, BATCH_WAIT_TIME="0.2", LOG_FORMAT="json") as service:
        service.http.headers["Authorization"] = f"Bearer {key}"
        service.wait_for_result(service.register(IRIS))
        server.kill()
        try:
            for number in range(20):
                headers = {"X-Request-ID": f"shop-{number}"}
                response = service.http.post("/predict", json={"data": [IRIS]}, headers=headers)
                assert response.status_code == 503
                assert response.headers["x-request-id"] == f"shop-{number}"
            wait_for(lambda: len(roles(service, "database unavailable")) == 2, "both beginnings")
        finally:
            server.restart()
        wait_for(service.is_ready, "the recovery")
        service.wait_for_result(service.register(IRIS))
        wait_for(lambda: len(roles(service, "database available again")) == 2, "both ends")
        troubles = [each for each in events(service) if each["level"] != "info"]
    for role in ("api", "job"):
        began, ended = (each for each in troubles if each["role"] == role)
        assert began["event"] == "database unavailable"
        assert began["detail"]
        assert "\\n" not in began["detail"]
        assert ended["event"] == "database available again"
        assert ended["failed"] >= 1
        if role == "api":
            assert ended["request_ids"] == [f"shop-{number}" for number in range(5)]
    server.drop_database(url)
