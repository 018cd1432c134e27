"""Batches and pages read what they need by an index, however many items there are beside it."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Connection, event, text

from batchline.constants import Status
from batchline.db import claims, insights, work
from batchline.db.cruds import insights as state
from batchline.db.cruds import items, pages, pending, results
from batchline.db.cruds.pages import Filters
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.db.migrations import upgrade
from batchline.db.scope import Backfill, IdRange, Scope
from batchline.db.work import Predicted
from batchline.errors import Failure
from tests.conftest import KINDS, Servers, new_database

pytestmark = pytest.mark.every_server

SCALED_OBJECT = Path(__file__).parents[2] / "deploy" / "keda" / "scaledobject.yaml"
HISTORY = 20_000
PENDING = 200
LANES = (0, 1)

EXPLAIN = {
    "sqlite": "EXPLAIN QUERY PLAN",
    "postgresql": "EXPLAIN",
    "mysql": "EXPLAIN FORMAT = TRADITIONAL",
    "mariadb": "EXPLAIN FORMAT = TRADITIONAL",
}
Statement = tuple[str, Any]


@pytest.fixture(scope="module", params=KINDS)
def history(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Some pending items behind many that were predicted, and a database that knows how many.

    The tests share it, so each one must leave it as it was.
    """
    folder = tmp_path_factory.mktemp("history")
    with new_database(request.param, servers, folder) as url, closing(Database(url)) as database:
        upgrade(database)
        fill(database)
        yield database


def fill(database: Database) -> None:
    with database.write() as connection:
        statement = text(
            "INSERT INTO items (data, status, lane) VALUES ('[[1, 2, 3, 4]]', :status, :lane)"
        )
        for status, count in (("succeeded", HISTORY), ("pending", PENDING)):
            of_lanes = [{"status": status, "lane": n % len(LANES)} for n in range(count)]
            connection.execute(statement, of_lanes)
        connection.exec_driver_sql(
            "INSERT INTO predictions (item_id, model_id, prediction)"
            " SELECT id, 1, '{}' FROM items WHERE status = 'succeeded'"
        )
        if connection.dialect.name in ("mysql", "mariadb"):
            connection.exec_driver_sql("ANALYZE TABLE items, predictions").close()
        else:
            connection.exec_driver_sql("ANALYZE")


class RollBack(Exception):
    """Ends a transaction without its effects."""


@contextmanager
def rolled_back(database: Database) -> Iterator[Connection]:
    """A transaction whose effects are undone at the end."""
    with suppress(RollBack), database.write() as connection:
        yield connection
        raise RollBack


@contextmanager
def statements_of(database: Database) -> Iterator[list[Statement]]:
    """What is said about `items` in the block, with its parameters."""
    said: list[Statement] = []

    def listen(_connection: object, _cursor: object, sql: str, values: Any, *_: object) -> None:
        if "items" in sql and not sql.startswith("INSERT"):
            said.append((sql, values))

    event.listen(database.engine, "before_cursor_execute", listen)
    yield said
    event.remove(database.engine, "before_cursor_execute", listen)


def predicted(read: ModelItems, model_id: int) -> Predicted:
    """Half of the items succeed, and the others fail."""
    ids = list(read.texts)
    failed = dict.fromkeys(ids[1::2], Failure("x", "x"))
    return Predicted(read, VersionResults(model_id, dict.fromkeys(ids[::2], "{}"), failed))


def work_off_a_batch(connection: Connection) -> None:
    for lane, sparse in enumerate((False, True)):
        known = {each: LaneProgress(after=10, sparse=sparse) for each in LANES}
        claim = claims.claim_pending(
            connection, owner="me", max_items=lambda lane: PENDING, known=known, lease=60
        )
        assert claim is not None
        assert claim.scope == Scope(lane=lane)
        ids = claim.ids
        pending.summarize_range(connection, ids, claim.scope)
        pending.last_within(connection, ids, 2**20, claim.scope)
        pending.unpredicted_ids(connection, ids, claim.scope)
        pending.read_unpredicted(connection, ids, claim.scope, model="default")
        [read] = pending.read_unpredicted(connection, ids, claim.scope)
        assert len(read.texts) == PENDING // len(LANES)
        store = [predicted(read, model_id=1)]
        pending.still_unpredicted(connection, store[0].results.item_ids, claim.scope)
        work.store_in(connection, claim, store)


def test_a_batch_scans_and_sorts_nothing(history: Database) -> None:
    with statements_of(history) as said, rolled_back(history) as connection:
        work_off_a_batch(connection)
    assert len(said) > 20
    with history.read() as connection:
        for sql, values in said:
            plan = plan_of(connection, sql, values)
            assert not faults_of(plan), sql
            assert "LIMIT" in sql or not any(map(reads_a_status, plan)), sql


def test_keda_counts_the_pending_items_without_a_scan(history: Database) -> None:
    manifests = yaml.safe_load_all(SCALED_OBJECT.read_text())
    query = next(manifests)["spec"]["triggers"][0]["metadata"]["query"]
    with history.read() as connection:
        assert connection.execute(text(query)).scalar() == PENDING
        of_items = [step for step in plan_of(connection, query, ()) if "backfills" not in str(step)]
    assert len(of_items) > 0
    assert not faults_of(of_items)


def test_the_state_of_the_service_is_read_without_a_scan(history: Database) -> None:
    with statements_of(history) as said:
        assert insights.read(history).pending_items == PENDING
    assert not [sql for sql, _ in said if "GROUP BY" in sql]  # there is only one model to count
    with history.read() as connection:
        for sql, values in said:
            assert not any(map(is_scan, plan_of(connection, sql, values))), sql


def test_later_items_of_a_model_are_found_by_its_own_index(history: Database) -> None:
    """Otherwise `status` would read all items behind the failure of a model that is rarely used."""
    with statements_of(history) as said, history.read() as connection:
        assert not state.has_succeeded(connection, "rare", after=0)
    ((sql, values),) = said
    with history.read() as connection:
        assert "items_model_id" in str(plan_of(connection, sql, values))


def test_suspects_of_all_lanes_are_found_without_a_scan(history: Database) -> None:
    """Jobs of the previous version claim without regard to lanes."""
    ids = IdRange(HISTORY + 1, HISTORY + 100)
    with statements_of(history) as said, history.read() as connection:
        assert len(pending.unpredicted_ids(connection, ids, Scope())) == 100
        pending.summarize_range(connection, ids, Scope())
        pending.read_unpredicted(connection, ids, Scope())
    with history.read() as connection:
        for sql, values in said:
            plan = plan_of(connection, sql, values)
            assert not faults_of(plan), sql
            assert not any(map(reads_a_status, plan)), sql


def test_the_lanes_are_found_by_probes(history: Database) -> None:
    with statements_of(history) as said, history.read() as connection:
        assert pending.exists(connection)
        found = [
            pending.next_lane(connection, above, below)
            for above, below in ((None, None), (0, None), (None, 1), (0, 1), (1, None), (None, 0))
        ]
    assert found == [0, 1, 0, None, None, None]
    assert len(said) == 7
    with history.read() as connection:
        for sql, values in said:
            assert not faults_of(plan_of(connection, sql, values)), sql


def test_a_batch_of_a_backfill_scans_and_sorts_nothing(history: Database) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    scope = Backfill(1, "default", 7, "succeeded", since, None)
    ids = IdRange(100, 200)
    with statements_of(history) as said, rolled_back(history) as connection:
        pending.summarize_range(connection, ids, scope)
        pending.last_within(connection, ids, 2**20, scope)
        assert len(pending.unpredicted_ids(connection, ids, scope)) == 101
        [read] = pending.read_unpredicted(connection, ids, scope, "default")
        results.lock(connection, scope.within(*ids))
        pending.read_texts(connection, list(read.texts), "default")
        results.insert(connection, predicted(read, model_id=7).results)
        results.mark_predicted(connection, list(read.texts))
    assert len(said) > 5
    with history.read() as connection:
        for sql, values in said:
            plan = plan_of(connection, sql, values)
            assert not faults_of(plan), sql
            assert not any(map(reads_a_status, plan)), sql


@pytest.mark.parametrize("status", [None, Status.SUCCEEDED, Status.PENDING, Status.FAILED])
def test_a_page_scans_and_sorts_nothing(history: Database, status: Status | None) -> None:
    with statements_of(history) as said, history.read() as connection:
        records = items.list_page(connection, Filters(status), after=100, limit=50).items
    assert len(records) == (0 if status == Status.FAILED else 50)
    with history.read() as connection:
        for sql, values in said:
            assert not faults_of(plan_of(connection, sql, values)), sql


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FILTERS = [
    Filters(model="default"),
    Filters(model="none"),
    Filters(custom_ids=["a", "b"]),
    Filters(code="invalid_data"),
    Filters(created_after=datetime(2020, 1, 1, tzinfo=UTC)),
    Filters(created_before=datetime(2020, 1, 1, tzinfo=UTC)),
    Filters(
        created_after=datetime(2020, 1, 1, tzinfo=UTC),
        created_before=datetime(2037, 1, 1, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_filtered_page_scans_and_sorts_nothing(
    history: Database, filters: Filters, descending: bool
) -> None:
    filters = replace(filters, descending=descending)
    for after in (None, 100):
        with statements_of(history) as said, history.read() as connection:
            items.list_page(connection, filters, after=after, limit=50)
        with history.read() as connection:
            for sql, values in said:
                assert not faults_of(plan_of(connection, sql, values)), sql


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(model="none"), "items_model_id"),
        (Filters(custom_ids=["a"]), "items_custom_id"),
        (Filters(custom_ids=["a", "b"]), "items_custom_id"),
    ],
    ids=str,
)
def test_a_filter_reads_its_own_index(
    history: Database, filters: Filters, index: str, descending: bool
) -> None:
    filters = replace(filters, descending=descending)
    with statements_of(history) as said, history.read() as connection:
        assert pages.find(connection, filters, after=None, limit=50) == []
    ((sql, values),) = said
    with history.read() as connection:
        plan = plan_of(connection, sql, values)
    used = [step for step in plan if index in str(step.get("key", step))]
    assert len(used) == max(1, len(filters.custom_ids)), plan


def test_the_lanes_of_a_status_are_found_without_its_items(history: Database) -> None:
    with history.read() as connection:
        before = entries_read(connection)
        assert pages.lanes_of(connection, Status.SUCCEEDED) == [*LANES]
        assert pages.lanes_of(connection, Status.FAILED) == []
        assert entries_read(connection) - before < 10


def entries_read(connection: Connection) -> int:
    """Index entries that MySQL or MariaDB has passed on this connection; 0 on the others."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return 0
    rows = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read_next'").all()
    return sum(int(value) for _, value in rows)


def test_lookups_scan_and_sort_nothing(history: Database) -> None:
    with statements_of(history) as said, history.read() as connection:
        assert len(items.get_many(connection, range(100, 150))) == 50
        assert items.get(connection, 100) is not None
    with history.read() as connection:
        for sql, values in said:
            assert not faults_of(plan_of(connection, sql, values)), sql


@pytest.mark.parametrize(
    "where",
    ["id = 100", "id BETWEEN 100 AND 109", "id IN (100, 7, 150)", "id > 100 ORDER BY id LIMIT 9"],
)
def test_a_few_rows_of_the_view_read_a_few_rows_of_each_table(
    history: Database, where: str
) -> None:
    sql = f"SELECT * FROM results WHERE {where}"
    with history.read() as connection:
        assert connection.exec_driver_sql(sql).first()
        for step in plan_of(connection, sql, ()):
            words = step.get("detail") or step.get("query plan") or ""
            assert not re.search(r"SCAN (items|predictions|found)|Seq Scan on (items|pred)", words)
            of_history = step.get("table") in ("items", "predictions", "found")
            assert not (of_history and step["type"] in ("ALL", "index")), step


def plan_of(connection: Connection, sql: str, values: Any) -> list[dict[str, Any]]:
    rows = connection.exec_driver_sql(
        f"{EXPLAIN[connection.dialect.name]} {sql}", values
    ).mappings()
    return [{name.lower(): value for name, value in row.items()} for row in rows]


def faults_of(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps of a plan that read all items, or sort what they read."""
    return [step for step in plan if is_scan(step) or is_sort(step)]


def is_scan(step: dict[str, Any]) -> bool:
    if "type" in step:  # MySQL and MariaDB
        return step["table"] == "items" and step["type"] in ("ALL", "index")
    words = step.get("detail") or step["query plan"]
    return words.startswith("SCAN items") or "Seq Scan on items" in words


def reads_a_status(step: dict[str, Any]) -> bool:
    """Whether it reads the index entries of all items of a status, in all lanes."""
    if "type" in step:
        return step["key"] == "items_status_lane_id" and step["ref"] == "const"
    words = step.get("detail") or step["query plan"]
    return "(status=?)" in words or ("Index Cond: ((status)" in words and "lane" not in words)


def is_sort(step: dict[str, Any]) -> bool:
    if "type" in step:
        return "filesort" in (step["extra"] or "")
    words = step.get("detail") or step["query plan"]
    return "TEMP B-TREE" in words or "Sort" in words


def test_a_store_finds_items_by_their_ids_without_statistics(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO items (data) VALUES ('')"), [{}] * PENDING)
    ids = list(range(10, 20)), list(range(10, 30, 2))
    with statements_of(database) as said, rolled_back(database) as connection:
        for some in ids:
            pending.still_unpredicted(connection, some, Scope())
            results.finish(connection, some, Status.SUCCEEDED)
            results.mark_predicted(connection, some)
        pending.unpredicted_ids(connection, (10, 20), Scope())
    assert len(said) == 7
    with database.read() as connection:
        for sql, values in said:
            assert not any(map(reads_a_status, plan_of(connection, sql, values))), sql


def test_what_reads_all_items_of_a_status_is_seen(history: Database) -> None:
    sql = "SELECT data FROM items WHERE status = 'pending'"
    with history.read() as connection:
        assert any(map(reads_a_status, plan_of(connection, sql, ())))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM items WHERE data = 'x'",
        "SELECT id FROM items WHERE status = 'pending' ORDER BY data LIMIT 5",
    ],
)
def test_what_scans_or_sorts_is_seen(history: Database, sql: str) -> None:
    with history.read() as connection:
        assert faults_of(plan_of(connection, sql, ()))
