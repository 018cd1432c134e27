"""Long reads, lost connections and killed runs of `batchline predict` with SQL."""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchline.db.database import Database
from batchline.db.dialects import mysql, postgresql
from batchline.db.scoring_source import SourceQuery
from batchline.errors import BatchlineError
from batchline.file_errors import SourceLost
from tests import models
from tests.conftest import KINDS
from tests.faults.proxy import COMMIT, Proxy
from tests.predict_sql import (
    QUERY,
    doubled,
    execute,
    fill,
    into_scores,
    predict,
    predicted,
    rejected,
    rows,
    succeed,
    tables,
)
from tests.service import Command, wait_for

LONG = f"""SELECT a.id * 1000 + b.id AS id, a.x0, a.x1, '{"x" * 1_000}' AS note
    FROM customers a, customers b"""


WITH_CONNECTIONS = pytest.mark.parametrize(
    "database_kind", [kind for kind in KINDS if kind != "sqlite"], indirect=True
)


# Long reads --------------------------------------------------------------------------------------


def test_a_long_result_is_not_held_in_memory(database_url: str, database: Database) -> None:
    fill(database, 500)
    program = """
import resource, sys
from batchline.db.database import Database
from batchline.db.scoring_source import SourceQuery
query = SourceQuery(Database(sys.argv[1]), sys.argv[2])
query.columns()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(map(len, query.batches()))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    words = [sys.executable, "-c", program, database_url, LONG]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
    count, megabytes = map(int, done.stdout.split())
    assert count == 250_000  # 250 MB
    assert megabytes < 100


@pytest.fixture
def impatient(
    database: Database, monkeypatch: pytest.MonkeyPatch, database_kind: str
) -> Iterator[None]:
    """The server ends what is idle, or is not read, for a second."""
    for each in (mysql, postgresql):
        monkeypatch.setattr(each, "IDLE_TIMEOUT", 1)
    is_mysql = database_kind in ("mysql", "mariadb")
    if is_mysql:
        execute(database, "SET GLOBAL net_write_timeout = 1")
    yield
    if is_mysql:
        execute(database, "SET GLOBAL net_write_timeout = 60")


@pytest.mark.usefixtures("impatient")
def test_a_slow_model_does_not_end_a_long_read(database_url: str, database: Database) -> None:
    fill(database, 300)
    source = Database(database_url)
    query = SourceQuery(source, LONG)
    batches = query.batches()
    count = len(next(batches)) + len(next(batches))
    time.sleep(3)
    assert count + sum(map(len, batches)) == 90_000
    query.close()


def test_a_read_that_is_given_up_does_not_read_the_rest(
    database_url: str, database: Database
) -> None:
    fill(database, 1_000)  # a million rows
    source = Database(database_url)
    query = SourceQuery(source, LONG)
    batches = query.batches()
    next(batches)
    start = time.process_time()
    batches.close()  # type: ignore[attr-defined]
    query.close()
    assert time.process_time() - start < 1


# Lost connections --------------------------------------------------------------------------------


@contextmanager
def proxied(url: str) -> Iterator[tuple[Proxy, Database]]:
    with Proxy(url) as proxy:
        database = Database(proxy.url)
        yield proxy, database
        database.close()


@WITH_CONNECTIONS
def test_a_lost_connection_is_never_the_end_of_the_rows(
    database_url: str, database: Database
) -> None:
    fill(database, 300)
    with proxied(database_url) as (proxy, through):
        query = SourceQuery(through, LONG)
        batches = query.batches()
        next(batches)
        proxy.cut_all()
        with pytest.raises(SourceLost, match="connection was lost after") as caught:
            list(batches)
        query.close()
    assert "--id" in caught.value.hint


@WITH_CONNECTIONS
@pytest.mark.parametrize(
    "id_",
    [
        "id",
        # a0, A1, a1, A2, a2, …: MySQL and MariaDB cannot tell a1 from A1, and a batch
        # of an even number ends between the two.
        "CONCAT(CASE WHEN id % 2 = 1 THEN 'a' ELSE 'A' END, FLOOR(id / 2)) AS id",
    ],
    ids=["number", "text"],
)
def test_with_an_id_the_rows_continue_after_a_lost_connection(
    database_url: str, database: Database, id_: str
) -> None:
    fill(database, 19_999)
    query_text = f"SELECT {id_}, x0, x1, '{'x' * 500}' AS note FROM customers"
    found: list[Any] = []
    cuts = 0
    with proxied(database_url) as (proxy, through):
        query = SourceQuery(through, query_text, "id")
        for batch in query.batches():
            found += [row[0] for row in batch]
            if cuts < 3:
                cuts += proxy.cut_all()
        query.close()
    assert cuts == 3
    assert len(found) == len(set(found)) == 19_999
    assert id_ != "id" or found == sorted(found)


@WITH_CONNECTIONS
def test_a_lost_connection_to_the_table_costs_no_row(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 2_000)
    with Proxy(database_url) as proxy:
        cut = proxy.cut_at(b"INSERT INTO")
        lost = proxy.lose_reply_to(b"INSERT INTO.*" + COMMIT, times=2)
        into_scores(database_url, model, TARGET_DATABASE_URL=proxy.url)
    assert cut.struck == 1
    assert lost.struck == 2
    assert predicted(database) == doubled(*range(1, 2_001))


# Killed and replaced -----------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["upsert", "replace", "fail"])
def test_a_run_that_is_killed_and_run_again_makes_the_same_table(
    database_url: str, database: Database, tmp_path: Path, word: str
) -> None:
    fill(database, 12_000)
    slow = models.slow(tmp_path / "slow.onnx")
    query = "SELECT id, CASE WHEN id < 300 THEN 1 ELSE {} END AS n FROM customers"
    words = ("--into", "scores", "--id", "id", "--columns", "n", "--model", str(slow))
    words += ("--if-exists", word, "--query")

    def begun() -> bool:
        names = [name for name in tables(database) if name.startswith("scores")]
        return bool(names) and rows(database, f"SELECT count(*) FROM {names[0]}")[0][0] > 0

    killed = ("predict", *words, query.format(2_000_000))
    with Command(*killed, DATABASE_URL=database_url) as command:
        wait_for(begun, "the first rows are written")
        command.process.kill()
        command.wait()
    [left] = tables(database) - {"customers"}
    assert (left == "scores") == (word == "upsert")
    assert rows(database, f"SELECT count(*) FROM {left}")[0][0] < 12_000
    succeed(predict(*words, query.format(1_000), DATABASE_URL=database_url))
    counts = "SELECT count(*), count(y), min(id), max(id) FROM scores"
    assert rows(database, counts) == [(12_000, 12_000, 1, 12_000)]
    assert tables(database) == {"customers", "scores"}


def test_replace_keeps_readers_working_and_shows_them_whole_tables(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 2_000)
    into_scores(database_url, model, "--if-exists", "replace", query=f"{QUERY} WHERE id <= 2")
    stop, seen, failed = threading.Event(), set(), []

    def look() -> None:
        while not stop.is_set():
            try:
                seen.add(rows(database, "SELECT count(*) FROM scores")[0][0])
            except BatchlineError as error:
                failed.append(error)
                return

    reader = threading.Thread(target=look)
    reader.start()
    wait_for(lambda: seen or failed, "a reader sees the old table")
    for last in (2_000, 2, 2_000):
        query = f"{QUERY} WHERE id <= {last}"
        into_scores(database_url, model, "--if-exists", "replace", query=query)
    wait_for(lambda: 2_000 in seen or failed, "a reader sees the new table")
    stop.set()
    reader.join()
    assert (failed, seen) == ([], {2, 2_000})
    assert tables(database) == {"customers", "scores"}


def test_replace_that_fails_leaves_the_table_as_it_was(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 600)
    into_scores(database_url, model, query=f"{QUERY} WHERE id <= 2")
    twice = f"{QUERY} UNION ALL SELECT 600, 1, 1"
    words = ("--query", twice, "--into", "scores", "--id", "id", "--if-exists", "replace")
    result = predict(*words, "--model", model, DATABASE_URL=database_url)
    assert "two rows of the query have the id '600'" in str(result.exception)
    assert predicted(database) == doubled(1, 2)
    assert tables(database) == {"customers", "scores"}


def test_replace_does_not_drop_a_table_of_something_else(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 1)
    fill(database, 1, "scores")
    words = ("--query", QUERY, "--into", "scores", "--id", "id", "--if-exists", "replace")
    result = predict(*words, "--model", model, DATABASE_URL=database_url)
    assert "it is not one of predictions and is not replaced" in str(result.exception)
    assert rows(database, "SELECT id FROM scores") == [(1,)]


def test_a_view_reads_the_new_table_or_keeps_it_from_being_replaced(
    database_url: str, database: Database, database_kind: str, model: Path
) -> None:
    fill(database, 3)
    into_scores(database_url, model, query=f"{QUERY} WHERE id = 1")
    execute(database, "CREATE VIEW seen AS SELECT id FROM scores")
    if database_kind == "postgresql":
        message = rejected(database_url, model, "--if-exists", "replace")
        assert "the view seen reads the table scores" in message
    else:
        into_scores(database_url, model, "--if-exists", "replace")
        assert rows(database, "SELECT count(*) FROM seen") == [(3,)]


def test_a_stream_that_is_not_read_to_its_end_leaves_no_connection(database_url: str) -> None:
    query = SourceQuery(Database(database_url), "SELECT 1 AS id UNION ALL SELECT 2")
    rows = query.batches()
    next(rows)
    query.close()
    assert next(rows, None) is None
    del rows
    gc.collect()  # an open connection would warn, which fails the test
