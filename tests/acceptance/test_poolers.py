"""PostgreSQL behind PgBouncer with its default settings. Transactions share three connections."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, TextClause, text

from batchline.constants import IRIS_MODEL
from batchline.db.database import Database
from tests.conftest import Servers, first_of
from tests.in_process import run_here
from tests.service import Command, Service, migrate, wait_for

FLOWERS = {
    "setosa": [5.1, 3.5, 1.4, 0.2],
    "versicolor": [6.0, 2.2, 4.0, 1.0],
    "virginica": [6.3, 3.3, 6.0, 2.5],
}
REQUESTS = 100
LINES = 150
"""More than `COPY_ROWS`."""

LEFT_IN_SESSION = """SELECT current_setting('statement_timeout'),
    current_setting('idle_in_transaction_session_timeout'),
    (SELECT count(*) FROM pg_prepared_statements),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""


@pytest.fixture(params=first_of(["transaction", "session"]))
def pooled_url(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    """The URL of an empty database behind PgBouncer."""
    size = 3 if request.param == "transaction" else 50  # a session is held by its client
    with servers.pooler(request.param, size) as pooler:
        url = pooler.create_database()
        yield url
        pooler.drop_database(url)


def flower(number: int) -> str:
    return list(FLOWERS)[number % len(FLOWERS)]


def new_item(number: int, prefix: str) -> dict[str, Any]:
    return {"data": [FLOWERS[flower(number)]], "custom_id": f"{prefix}-{number}"}


def load(api: Service, prefix: str) -> None:
    """Register by single requests and by an upload at the same time, and read meanwhile."""

    def single(number: int) -> None:
        response = api.http.post("/predict", json=new_item(number, prefix))
        assert response.status_code == 202, response.text
        api.read(response.json()["id"])

    lines = "".join(json.dumps(new_item(n, f"{prefix}-line")) + "\n" for n in range(LINES))
    with ThreadPoolExecutor(8) as pool:
        uploaded = pool.submit(api.http.post, "/items", content=lines.encode())
        list(pool.map(single, range(REQUESTS)))
        assert uploaded.result().status_code == 200, uploaded.result().text


def results(api: Service) -> list[tuple[str, str]]:
    """The custom ids and the labels of all items."""
    found, last = [], 0
    while True:
        page = api.http.get("/items", params={"limit": 1000, "after": last}).json()
        found += [(each["custom_id"], each["label"]) for each in page["items"]]
        last = page["last_id"]
        if not page["has_more"]:
            return found


def test_two_apis_and_a_job_under_load_give_right_answers(pooled_url: str) -> None:
    migrate(pooled_url)
    job_settings = {"DATABASE_URL": pooled_url, "BATCH_WAIT_TIME": "0.1"}
    with (
        Service(pooled_url, "api") as one,
        Service(pooled_url, "api") as two,
        Command("job", **job_settings) as job,
    ):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(load, (one, two), ("one", "two")))
        done = 2 * (REQUESTS + LINES)
        pending = {"status": "pending", "limit": 1}
        wait_for(lambda: not one.http.get("/items", params=pending).json()["items"], "the end")
        found = results(two)
        assert job.process.poll() is None, job.output
        assert "error" not in job.output, job.output
    assert len(dict(found)) == len(found) == done
    wrong = [each for each in found if each[1] != flower(int(each[0].rpartition("-")[2]))]
    assert wrong == []


def test_commands_work(pooled_url: str) -> None:
    settings = {"DATABASE_URL": pooled_url}
    with closing(Database(pooled_url)) as database, database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE flowers AS SELECT id, 1.5::float8 AS x FROM generate_series(1, 600) id"
        )
    query = ("--query", "SELECT id, x AS a, x AS b, x AS c, x AS d FROM flowers", "--id", "id")
    into = ("--into", "answers", "--if-exists", "upsert", "--columns", "a,b,c,d")
    for words in (
        ("db", "upgrade"),
        ("check",),
        ("models", "add", "iris", IRIS_MODEL),
        ("job", "--once"),
        ("failures",),
        ("predict", *query, *into, "--model", "iris"),
        ("predict", *query, *into, "--model", "iris", "--only-new"),
    ):
        done = run_here(*words, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    with closing(Database(pooled_url)) as database, database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM answers").scalar() == 600


def test_clients_of_one_session_leave_nothing_in_it_for_each_other(servers: Servers) -> None:
    with servers.pooler(size=1) as pooler:
        url = pooler.create_database()
        with closing(Database(url)) as one, closing(Database(url, timeout=2)) as two:
            for database in (one, two):
                for number in range(10):
                    database.transaction(partial(Connection.execute, statement=add(number)))
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
                left = other.execute(LEFT_IN_SESSION).fetchone()
        assert left == ("0", "0", 0, 0)
        pooler.drop_database(url)


def add(number: int) -> TextClause:
    return text("SELECT CAST(:number AS integer) + 1").bindparams(number=number)
