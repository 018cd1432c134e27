"""The tables, as SQL clients meet them."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import batchline.db.migrations as migrations
from batchline.constants import SCHEMA_REVISION
from batchline.db.cruds import claim_lock, items, runs, schema, versions
from batchline.db.cruds.results import VersionResults, insert
from batchline.db.database import Database
from batchline.db.dialects import connections, mysql, postgresql
from batchline.db.dialects.inserts import COPY_ROWS
from batchline.db.models import metadata
from batchline.db.new_items import NewItems
from batchline.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    ForeignTables,
    SchemaNewer,
    TablesMissing,
)
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature
from tests.conftest import SQLITE_AND_A_SERVER, Servers
from tests.in_process import run_here

pytestmark = pytest.mark.every_server


def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        items.register(connection, NewItems(["[[1, 2, 3, 4]]"]))
    migrations.upgrade(database)
    with database.read() as connection:
        assert items.get(connection, 1) is not None
        schema.check(connection)


def test_a_view_that_a_restore_has_lost_is_found_and_created_again(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP VIEW results")
    found = run_here("check", DATABASE_URL=database_url)
    assert found.returncode == 1
    assert "the database lacks the view results\n  hint: run `batchline db upgrade`" in found.stdout
    migrations.upgrade(database)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT * FROM results").all() == []


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_tables_that_a_restore_has_lost_are_named(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE runs")
    with pytest.raises(TablesMissing, match="created before: runs") as caught:
        migrations.upgrade(database)
    assert caught.value.hint == "restore the backup again, into an empty database"


def test_a_migration_that_was_cut_short_is_finished_by_the_next(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM batchline_version")
        connection.exec_driver_sql("DROP TABLE runs")
    migrations.upgrade(database)
    with database.write() as connection:
        assert runs.start(connection, "me") == 1
        schema.check(connection)


def tables_of(database: Database) -> dict[str, set[str]]:
    with database.read() as connection:
        found = inspect(connection)
        names = found.get_table_names()
        return {name: {column["name"] for column in found.get_columns(name)} for name in names}


@pytest.mark.parametrize("theirs", ["items", "runs", "models", "results"])
def test_a_table_of_another_program_is_named_and_nothing_is_touched(
    database_url: str, theirs: str
) -> None:
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {theirs} (id INTEGER, title VARCHAR(9))")
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0002')")
        before = tables_of(database)
        with pytest.raises(ForeignTables, match=theirs) as caught:
            migrations.upgrade(database)
        assert "a database or a schema of its own" in caught.value.hint
        assert tables_of(database) == before


def test_names_that_differ_in_case_are_foreign_only_if_the_database_ignores_case(
    database_url: str, database_kind: str
) -> None:
    names = ("Runs", "GATE", "Idempotency_Keys")
    with closing(Database(database_url)) as database:
        quoted = map(database.engine.dialect.identifier_preparer.quote, names)
        with database.write() as connection:
            for name in quoted:
                connection.exec_driver_sql(f"CREATE TABLE {name} (id INTEGER)")
        before = tables_of(database)
        if database_kind == "sqlite":
            with pytest.raises(ForeignTables, match="GATE, Idempotency_Keys, Runs"):
                migrations.upgrade(database)
            assert tables_of(database) == before
        else:
            migrations.upgrade(database)
            after = tables_of(database)
            assert {name: after[name] for name in names} == before


@pytest.mark.parametrize("theirs", ["gate", "items", "runs", "batchline_version", "results"])
def test_a_view_of_another_program_is_named_and_nothing_is_touched(
    database_url: str, theirs: str
) -> None:
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE doors (id INTEGER PRIMARY KEY)")
            connection.exec_driver_sql(f"CREATE VIEW {theirs} AS SELECT id FROM doors")
        before = tables_of(database)
        with pytest.raises(ForeignTables, match=f"views .*: {theirs}$"):
            migrations.upgrade(database)
        assert tables_of(database) == before
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT * FROM doors").all() == []


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_results_of_the_user_in_a_database_of_an_older_batchline_are_named(
    database_url: str, kind: str
) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0003")
        with database.write() as connection:
            connection.exec_driver_sql(f"CREATE {kind} results AS SELECT id, model FROM items")
        with pytest.raises(ForeignTables, match="results"):
            migrations.upgrade(database)
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT id, model FROM results").all() == []


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
@pytest.mark.parametrize("theirs", ["api_keys", "job_processes"])
def test_a_foreign_table_with_the_name_of_a_newer_one_of_ours_is_named(
    database_url: str, theirs: str
) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0004")
        with database.write() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {theirs} (id INTEGER, secret VARCHAR(9))")
        before = tables_of(database)
        with pytest.raises(ForeignTables, match=theirs):
            migrations.upgrade(database)
        assert tables_of(database) == before


@pytest.mark.parametrize("words", [("db", "upgrade"), ("up",)], ids=" ".join)
def test_commands_name_a_foreign_table_and_a_newer_schema_and_write_nothing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    with closing(Database(url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE items (id INTEGER, title VARCHAR(9))")
        before = tables_of(database)
        done = run_here(*words, DATABASE_URL=url)
        assert done.returncode == 1
        assert "that Batchline did not create: items" in done.stderr
        assert tables_of(database) == before
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE items")
        migrations.upgrade(database)
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE batchline_version SET version_num = '9999'")
        done = run_here(*words, DATABASE_URL=url)
        assert done.returncode == 1
        assert "error: a newer Batchline migrated this database" in done.stderr
        assert "hint: upgrade Batchline" in done.stderr
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM models").scalar_one() == 0


def test_a_materialized_view_of_another_program_is_named(servers: Servers) -> None:
    with closing(Database(servers.get("postgresql").create_database())) as database:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE MATERIALIZED VIEW gate AS SELECT 1 AS id")
        with pytest.raises(ForeignTables, match="gate"):
            migrations.upgrade(database)


@pytest.mark.parametrize("theirs", ["runs", "gate", "backfills"])
def test_a_foreign_table_is_found_though_our_first_migration_was_cut_short(
    database_url: str, theirs: str
) -> None:
    """MySQL and MariaDB keep what a killed migration had created: at first, an empty version."""
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE batchline_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
            )
            connection.exec_driver_sql(f"CREATE TABLE {theirs} (id INTEGER PRIMARY KEY, km FLOAT)")
        before = tables_of(database)
        with pytest.raises(ForeignTables, match=theirs):
            migrations.upgrade(database)
        assert tables_of(database) == before


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_tables_of_a_migration_that_was_cut_short_are_ours(
    database_url: str, revision: str
) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, revision)
        with database.write() as connection:
            connection.exec_driver_sql("DELETE FROM batchline_version")
        migrations.upgrade(database)
        with database.read() as connection:
            schema.check(connection)


def test_the_first_columns_of_each_table_are_those_that_its_migration_makes(
    tmp_path: Path,
) -> None:
    found: dict[str, set[str]] = {}
    for number in range(1, int(SCHEMA_REVISION) + 1):
        revision = f"{number:04}"
        with closing(Database(f"sqlite:///{tmp_path / revision}.db")) as database:
            migrations.upgrade(database, revision)
            new = tables_of(database)
        added = {name for name in new if name not in found} - {schema.VERSION_TABLE}
        assert added == {
            name for name in metadata.tables if schema.CREATED_LATER.get(name, "0001") == revision
        }
        found |= {name: new[name] for name in added}
    assert found == {name: set(text.split()) for name, text in schema.FIRST_COLUMNS.items()}


def test_views_of_the_user_keep_working(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0001")
        with database.write() as connection:
            for statement in (
                "CREATE VIEW report AS SELECT m.name, m.version FROM models m WHERE m.active",
                "CREATE VIEW errors AS SELECT f.code FROM failures f",
                "INSERT INTO models (name, version, sha256, signature, active)"
                """ VALUES ('a', 1, 'abc', '{"inputs": []}', TRUE)""",
                "INSERT INTO failures (item_id, model_id, code, detail) VALUES (1, 1, 'x', 'why')",
            ):
                connection.exec_driver_sql(statement)
        migrations.upgrade(database)
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT * FROM report").all() == [("a", 1)]
            assert connection.exec_driver_sql("SELECT * FROM errors").all() == [("x",)]


OBJECTS_OF_THE_USER = (
    "CREATE TABLE log (code)",
    "CREATE VIEW report AS SELECT m.name FROM failures f JOIN models m ON m.id = f.model_id",
    "CREATE VIEW broken AS SELECT * FROM no_such_table",
    "CREATE TRIGGER on_models AFTER INSERT ON models BEGIN INSERT INTO log VALUES (new.name); END",
    "CREATE TRIGGER on_fail AFTER INSERT ON failures BEGIN INSERT INTO log VALUES (new.code); END",
    "CREATE TRIGGER on_report INSTEAD OF INSERT ON report BEGIN SELECT 1; END",
    "CREATE TRIGGER on_log AFTER DELETE ON log BEGIN DELETE FROM models; DELETE FROM failures; END",
    "CREATE INDEX by_code ON failures (code)",
    "CREATE INDEX by_sha256 ON models (sha256) WHERE active",
)


def objects_of_the_user(database: Database) -> set[tuple[str, str]]:
    with database.read() as connection:
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all()
    names = {statement.split()[2] for statement in OBJECTS_OF_THE_USER}
    return {(name, sql) for name, sql in found if name in names}


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_on_sqlite_views_triggers_and_indexes_of_the_user_outlive_the_copy_of_a_table(
    tmp_path: Path, revision: str
) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'batchline.db'}")) as database:
        migrations.upgrade(database, revision)
        with database.write() as connection:
            for statement in OBJECTS_OF_THE_USER:
                connection.exec_driver_sql(statement)
        before = objects_of_the_user(database)
        migrations.upgrade(database)
        assert objects_of_the_user(database) == before
        assert len(before) == len(OBJECTS_OF_THE_USER)
        with database.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO failures (item_id, model_id, code, detail) VALUES (1, 1, 'x', 'why')"
            )
            assert connection.exec_driver_sql("SELECT code FROM log").scalars().all() == ["x"]


def test_a_view_that_the_migration_would_break_is_named_and_all_is_rolled_back(
    tmp_path: Path,
) -> None:
    view = 'CREATE VIEW "my report" (id, owner, a, b, c, d, e) AS SELECT * FROM runs'
    with closing(Database(f"sqlite:///{tmp_path / 'batchline.db'}")) as database:
        migrations.upgrade(database, "0002")
        with database.write() as connection:
            connection.exec_driver_sql(view)
        before = tables_of(database)
        with pytest.raises(ConfigurationError, match=r"the view my report .* columns") as caught:
            migrations.upgrade(database)
        assert "drop" in caught.value.hint
        assert tables_of(database) == before


def test_a_view_that_blocks_on_postgresql_is_named_and_all_is_rolled_back(
    servers: Servers,
) -> None:
    with closing(Database(servers.get("postgresql").create_database())) as database:
        migrations.upgrade(database, "0001")
        with database.write() as connection:  # it depends on the primary key
            connection.exec_driver_sql(
                "CREATE VIEW report AS SELECT item_id, code FROM failures GROUP BY item_id"
            )
        before = tables_of(database)
        with pytest.raises(ConfigurationError, match=r"blocked: .*\n.*view report depends"):
            migrations.upgrade(database)
        assert tables_of(database) == before


def test_another_programs_alembic_version_neither_blocks_nor_deceives(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0002')")
        migrations.upgrade(database)
        with database.read() as connection:
            schema.check(connection)
            theirs = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            assert theirs.scalars().all() == ["0002"]


def test_a_database_that_an_older_batchline_migrated_goes_on_from_there(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0002")
        with database.write() as connection:  # as it was before the table had a name of our own
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0002')")
            connection.exec_driver_sql("DROP TABLE batchline_version")
        migrations.upgrade(database)
        with database.read() as connection:
            schema.check(connection)


def test_a_schema_that_is_too_new_says_to_upgrade_batchline(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE batchline_version SET version_num = '9999'")
        connection.exec_driver_sql(
            "INSERT INTO batchline_migrations (revision, oldest_code) VALUES ('9999', '9999')"
        )
    before = tables_of(database)
    with pytest.raises(SchemaNewer, match="9999") as caught:
        migrations.upgrade(database)
    assert "upgrade Batchline" in caught.value.hint
    assert tables_of(database) == before
    with database.read() as connection, pytest.raises(SchemaNewer):
        schema.check(connection)


def test_a_newer_schema_that_says_it_is_compatible_is_accepted(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO batchline_migrations (revision, oldest_code) "
            f"VALUES ('9999', '{SCHEMA_REVISION}')"
        )
    with database.read() as connection:
        schema.check(connection)


def test_of_a_model_only_one_version_can_be_active(database: Database) -> None:
    def insert(version: int) -> None:
        with database.write() as connection:
            statement = text(
                "INSERT INTO models (name, version, sha256, signature, active) "
                "VALUES ('a', :version, 'abc', '{}', :active)"
            )
            connection.execute(statement, {"version": version, "active": True})

    insert(1)
    with pytest.raises(Conflict):
        insert(2)


def test_of_two_active_versions_of_an_older_schema_the_newest_stays_active(
    database_url: str,
) -> None:
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0002")
        with database.write() as connection:
            for version, active in ((1, True), (2, True), (3, False)):
                statement = text(
                    "INSERT INTO models (name, version, sha256, signature, active) "
                    "VALUES ('a', :version, 'abc', '{}', :active)"
                )
                connection.execute(statement, {"version": version, "active": active})
        migrations.upgrade(database)
        with database.read() as connection:
            found = versions.all_versions(connection)
        assert [(row.version, row.active) for row in found] == [(1, None), (2, True), (3, None)]


def test_a_new_sqlite_file_that_another_program_writes_to_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    with another_writer(file) as end_in:
        end_in(0.2)
        with closing(Database(f"sqlite:///{file}")) as database, database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_migration_waits_for_longer_than_a_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.db.dialects.sqlite.SQLITE_BUSY_TIMEOUT", 0.01)
    file = tmp_path / "new.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with another_writer(file) as end_in, closing(Database(f"sqlite:///{file}")) as database:
        with pytest.raises(DatabaseUnavailable), database.write():
            pass
        end_in(0.5)
        migrations.upgrade(database)
        with database.read() as connection:
            schema.check(connection)


@contextmanager
def another_writer(file: Path) -> Iterator[Callable[[float], None]]:
    """Holds the write lock; call it with the number of seconds after which to let go of it."""
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    timers: list[threading.Timer] = []

    def end_in(seconds: float) -> None:
        timers.append(threading.Timer(seconds, writer.execute, ["ROLLBACK"]))
        timers[-1].start()

    yield end_in
    for timer in timers:
        timer.join()
    writer.close()


def test_everything_but_data_has_a_default(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO items (data) VALUES ('[[5.1, 3.5, 1.4, 0.2]]')"))
    with database.read() as connection:
        record = items.get(connection, 1)
        now = claim_lock.database_time(connection)
    assert record is not None
    assert record.status == "pending"
    assert 0 <= (now - record.created_at).total_seconds() < 60


def test_times_are_utc_whatever_the_clients_time_zone(
    database: Database, database_kind: str
) -> None:
    zones = {
        "mysql": "SET time_zone = '+05:00'",
        "mariadb": "SET time_zone = '+05:00'",
        "postgresql": "SET TIME ZONE 'Asia/Karachi'",
    }
    with database.engine.connect() as connection:
        if database_kind in zones:
            connection.exec_driver_sql(zones[database_kind])
        connection.exec_driver_sql("INSERT INTO items (data) VALUES ('[]')")
        connection.commit()
        connection.invalidate()  # it is of another time zone now
    with database.read() as connection:
        record = items.get(connection, 1)
        assert record is not None
        now = datetime.now(UTC)
        assert abs((now - record.created_at).total_seconds()) < 60
        assert abs((now - claim_lock.database_time(connection)).total_seconds()) < 60


def test_text_of_every_script_survives(database: Database) -> None:
    with database.write() as connection:
        items.register(connection, NewItems(['["Ünïcödé 漢字 🌸 \' \\" %s :x ?"]']))
    with database.read() as connection:
        stored = connection.exec_driver_sql("SELECT data FROM items").scalar()
    assert stored == '["Ünïcödé 漢字 🌸 \' \\" %s :x ?"]'


ODD_TEXTS = [
    "tab\tline\nreturn\rback\\slash",
    r"\N",
    r"\.",
    "\\",
    "%s %d :name ?",
    "'; DROP TABLE items; --",
    '{"a": "\x1e"}',
    "🌸 漢字 \u2028",
    "",
]


def test_odd_texts_survive_a_bulk_insert(database: Database) -> None:
    data = [f"{text}{number}" for number in range(30) for text in ODD_TEXTS]
    assert len(data) > COPY_ROWS  # so that PostgreSQL gets them by COPY
    with database.write() as connection:
        ids = items.register(connection, NewItems(data))
        found = connection.exec_driver_sql("SELECT data FROM items ORDER BY id").scalars().all()
        assert found == data
        results = VersionResults(1, dict(zip(ids, data, strict=True)), {})
        insert(connection, results)
        stored = "SELECT prediction FROM predictions ORDER BY item_id"
        assert connection.exec_driver_sql(stored).scalars().all() == data


def test_an_unknown_status_is_refused(database: Database) -> None:
    with pytest.raises(DBAPIError), database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO items (data, status) VALUES ('[]', 'lost')")


def test_the_known_revision_is_the_newest() -> None:
    folder = str(Path(migrations.__file__).parent)
    assert ScriptDirectory(folder).get_current_head() == SCHEMA_REVISION


def test_registrations_from_many_threads_get_different_ids(database: Database) -> None:
    ids: list[int] = []

    def register() -> None:
        for _ in range(10):
            ids.extend(
                database.transaction(
                    lambda connection: items.register(connection, NewItems(["[[1]]"] * 3))
                )
            )

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == len(ids) == 120


def test_a_time_that_is_none_leaves_the_rest_of_its_item_readable(
    database: Database, database_kind: str
) -> None:
    if database_kind == "postgresql":
        return  # it takes nothing but times
    with database.write() as connection:
        if database_kind != "sqlite":
            connection.exec_driver_sql("SET sql_mode = ''")
        for text in ("yesterday", "0000-00-00"):
            statement = f"INSERT INTO items (data, created_at) VALUES ('[[1]]', '{text}')"
            connection.exec_driver_sql(statement)
    with database.read() as connection:
        records = items.list_page(connection, limit=10).items
    assert [(record.id, record.created_at) for record in records] == [(1, None), (2, None)]


def test_a_postgresql_database_that_holds_no_unicode_is_refused_by_name(servers: Servers) -> None:
    url = make_url(servers.get("postgresql").create_database())
    for encoding in ("LATIN1", "SQL_ASCII"):
        name = f"in_{encoding.lower()}"
        maker = create_engine(url, isolation_level="AUTOCOMMIT")
        with maker.connect() as connection:
            connection.exec_driver_sql(
                f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
                " LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        maker.dispose()
        database = Database(url.set(database=name).render_as_string(hide_password=False))
        with (
            database.read() as connection,
            pytest.raises(ConfigurationError, match=f"must be UTF8, got {encoding}"),
        ):
            connections.check_version(connection)
        database.close()


def test_a_process_that_stands_still_in_a_transaction_loses_its_locks(
    database: Database, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_kind == "sqlite":
        return  # the lock is the process's own, and goes with it
    for each in (mysql, postgresql):
        monkeypatch.setattr(each, "IDLE_TIMEOUT", 2)
    stalled = Database(database.engine.url.render_as_string(hide_password=False))

    def stand_still() -> None:
        with stalled.write() as connection:
            claim_lock.acquire_claim_lock(connection)
            with database.write() as other:
                claim_lock.acquire_claim_lock(other)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        stand_still()
    stalled.close()


def test_a_server_that_is_too_old_is_refused_with_both_versions(
    database: Database, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server that old is at hand, so what is asked for is made newer than any."""
    monkeypatch.setitem(connections.OLDEST, database_kind, (99, 1))
    with (
        database.read() as connection,
        pytest.raises(ConfigurationError, match=rf"{database_kind} 99.1 or newer, got [\d.]+"),
    ):
        connections.check_version(connection)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "again after it was cut short"])
def test_a_database_of_the_first_version_keeps_everything(database_url: str, times: int) -> None:
    signature = {"name": "X", "dtype": "float32", "shape": [4], "labels": ["a", "b"]}
    with closing(Database(database_url)) as database:
        migrations.upgrade(database, "0001")
        with database.write() as connection:
            for statement in (
                "INSERT INTO items (data, status) VALUES ('[[1, 2, 3, 4]]', 'succeeded')",
                "INSERT INTO items (data, status) VALUES ('oops', 'failed')",
                "INSERT INTO predictions (item_id, model_id, prediction) VALUES (1, 1, '{}')",
                "INSERT INTO failures (item_id, model_id, code, detail) VALUES (2, 1, 'x', 'why')",
            ):
                connection.exec_driver_sql(statement)
            old = text(
                "INSERT INTO models (name, version, sha256, signature, active) "
                "VALUES ('default', 1, 'abc', :signature, :active)"
            )
            connection.execute(old, {"signature": json.dumps(signature), "active": True})
        for _ in range(times):
            migrations.upgrade(database)
            if times > 1:
                with database.write() as connection:
                    connection.exec_driver_sql("UPDATE batchline_version SET version_num = '0001'")
        migrations.upgrade(database)
        with database.read() as connection:
            good, bad = items.get(connection, 1), items.get(connection, 2)
            [version] = versions.all_versions(connection)
        assert good is not None
        assert bad is not None
        assert (items.text_of(good.model), good.version, good.prediction) == ("default", 1, "{}")
        assert (items.text_of(bad.model), bad.code, bad.detail) == ("default", "x", "why")
        assert Signature.from_json(json.loads(version.signature)) == Signature(
            (Input("X", "float32", (4,)),), (), ("a", "b")
        )
