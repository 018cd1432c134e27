"""`batchline predict` with SQL on both sides: which table it makes, and what it refuses."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.errors import BatchlineError
from tests import models
from tests.conftest import KINDS, Servers, new_database
from tests.jobs import add_model
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

SQLITE = [kind for kind in KINDS if kind == "sqlite"]
POSTGRESQL = [kind for kind in KINDS if kind == "postgresql"]
SERVERS = [kind for kind in KINDS if kind != "sqlite"]


# The table ---------------------------------------------------------------------------------------


def test_each_row_of_a_query_gets_a_row_with_its_prediction(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 3)
    result = into_scores(database_url, model)
    assert result.stderr == "3 rows in the table scores\n"
    assert predicted(database) == doubled(1, 2, 3)
    [(name, version, count)] = rows(
        database, "SELECT model, version, count(predicted_at) FROM scores GROUP BY model, version"
    )
    assert (name, len(version), count) == ("doubling", 12, 3)


def test_a_second_run_replaces_the_rows_of_the_first_one(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 300)
    into_scores(database_url, model)
    execute(database, "UPDATE customers SET x0 = 7 WHERE id = 2")
    into_scores(database_url, model)
    found = predicted(database)
    assert found[1] == (2, "[14.0,1.0]", None)
    assert found[:1] + found[2:] == doubled(1, *range(3, 301))


def test_a_query_without_rows_makes_an_empty_table(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 1)
    into_scores(database_url, model, query=f"{QUERY} WHERE 1 = 0;")
    assert predicted(database) == []


def test_a_row_that_cannot_be_predicted_has_its_reason_in_the_table(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 2)
    execute(database, "INSERT INTO customers VALUES (3, NULL, 0.5, 'no value')")
    result = into_scores(database_url, model, code=3)
    assert "3 rows in the table scores, 1 with errors" in result.stderr
    [*good, bad] = predicted(database)
    assert good == doubled(1, 2)
    assert bad[:2] == (3, None)
    assert bad[2].startswith("not_a_number: query, row 3 (id 3), column 'x0': ")


@pytest.mark.parametrize("database_kind", SQLITE, indirect=True)
def test_an_error_names_the_id_and_not_only_the_row_of_the_query(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 2)
    x0 = "CASE id WHEN 2 THEN 'many' ELSE x0 END AS x0"
    query = f"SELECT 'a-' || id AS id, {x0}, x1 FROM customers"
    said = into_scores(database_url, model, query=query, code=3).stderr
    assert "not_a_number: query, row 2 (id a-2), column 'x0': " in said


@pytest.mark.parametrize("database_kind", SQLITE, indirect=True)
@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ([], "Run the command again to complete it"),
        (["--if-exists", "append"], "a second run adds them again. Delete them first"),
        (["--if-exists", "replace"], ""),
    ],
)
def test_a_run_that_ends_with_an_error_says_which_rows_the_table_has(
    database_url: str, database: Database, model: Path, options: list[str], outcome: str
) -> None:
    fill(database, 4_000)
    execute(database, "UPDATE customers SET x0 = NULL WHERE id > 3900")
    said = rejected(database_url, model, "--max-errors", "0", *options)
    assert "correct the rows, or raise --max-errors" in said
    assert outcome in said
    stored = rows(database, "SELECT COUNT(*) FROM scores")[0][0] if outcome else 0
    assert bool(stored) == bool(outcome)
    assert f"{stored} rows of this run are in the table scores" in said or not outcome


def test_a_prediction_that_is_no_number_is_null_and_says_so(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    fill(database, 2)
    execute(database, "UPDATE customers SET x0 = -1 WHERE id = 2")
    root = models.square_root(tmp_path / "root.onnx")
    flags = ("--allow-non-finite", "--columns", "x0")
    into_scores(database_url, root, *flags, query="SELECT id, x0 FROM customers")
    found = rows(database, "SELECT id, root, error FROM scores ORDER BY id")
    assert found == [(1, 1.0, None), (2, None, "not_finite: root is nan")]


def test_a_version_of_the_registry_predicts_a_table(database_url: str, model: Path) -> None:
    registry = Database(database_url)
    upgrade(registry)
    add_model(registry, model, name="churn")
    fill(registry, 2)
    into_scores(database_url, Path("churn"))
    found = rows(registry, "SELECT id, doubled, model, version FROM scores ORDER BY id")
    registry.close()
    assert found == [(1, "[2.0,1.0]", "churn", "1"), (2, "[4.0,1.0]", "churn", "1")]


def test_only_new_reads_rows_without_a_prediction_by_this_version(
    database_url: str, database: Database, model: Path, tmp_path: Path
) -> None:
    fill(database, 300)
    into_scores(database_url, model, "--only-new")
    execute(
        database,
        "INSERT INTO customers VALUES (301, 301, 0.5, 'new')",
        "UPDATE scores SET error = 'x' WHERE id = 7",
    )
    result = into_scores(database_url, model, "--only-new", query=f"{QUERY} WHERE note LIKE '%'")
    assert result.stderr == "2 new rows in the table scores\n"
    assert predicted(database) == doubled(*range(1, 302))
    other = models.negated(tmp_path / "other.onnx")
    result = into_scores(database_url, other, "--only-new", "--rename", "negated=doubled")
    assert result.stderr == "301 new rows in the table scores\n"


def test_only_new_asks_the_table_if_it_is_in_another_database(
    database_url: str, database: Database, model: Path, servers: Servers, tmp_path: Path
) -> None:
    execute(database, "CREATE TABLE notes (id INTEGER)")  # predict makes no database of SQLite
    (tmp_path / "other").mkdir()
    with new_database("sqlite", servers, tmp_path / "other") as source_url:
        source = Database(source_url)
        fill(source, 300)
        source.close()
        settings = {"SOURCE_DATABASE_URL": source_url}
        into_scores(database_url, model, "--only-new", query=f"{QUERY} WHERE id < 280", **settings)
        result = into_scores(database_url, model, "--only-new", **settings)
    assert result.stderr == "21 new rows in the table scores\n"
    assert predicted(database) == doubled(*range(1, 301))


def test_rows_that_the_run_writes_are_not_read_by_it(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 3_000)
    into_scores(database_url, model, query=f"{QUERY} WHERE id <= 2")
    both = f"{QUERY} UNION ALL SELECT id + 5000, id + 5000, 0.5 FROM scores"
    result = into_scores(database_url, model, query=both)
    assert result.stderr == "3002 rows in the table scores\n"
    assert predicted(database) == doubled(*range(1, 3_001), 5_001, 5_002)


def test_append_adds_the_rows_again(database_url: str, database: Database, model: Path) -> None:
    fill(database, 2)
    for _ in range(2):
        into_scores(database_url, model, "--if-exists", "append")
    assert predicted(database) == doubled(1, 1, 2, 2)


def test_without_an_id_all_columns_are_kept_and_a_table_that_exists_is_refused(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 2)
    words = ("--query", QUERY, "--into", "scores", "--model", model)
    succeed(predict(*words, DATABASE_URL=database_url))
    found = rows(database, "SELECT id, x0, x1, doubled FROM scores ORDER BY id")
    assert [(float(id_), float(x0), float(x1)) for id_, x0, x1, _ in found] == [
        (1.0, 1.0, 0.5),
        (2.0, 2.0, 0.5),
    ]
    result = predict(*words, DATABASE_URL=database_url)
    assert "the table scores exists" in str(result.exception)
    assert tables(database) == {"customers", "scores"}


def test_files_and_sql_can_be_mixed(
    database_url: str, database: Database, model: Path, tmp_path: Path
) -> None:
    fill(database, 3)
    file = tmp_path / "rows.csv"
    words = ("--query", QUERY, "-o", file, "--model", model, "--no-error-column")
    succeed(predict(*words, "--rename", "doubled=d", DATABASE_URL=database_url))
    lines = file.read_text().splitlines()
    assert (lines[0], len(lines)) == ("id,x0,x1,d", 4)
    for _ in range(2):
        words = (file, "--into", "scores", "--id", "id", "--model", model)
        succeed(predict(*words, DATABASE_URL=database_url))
    assert predicted(database) == [(str(id_), *rest) for id_, *rest in doubled(1, 2, 3)]


def test_ids_of_a_file_become_those_of_an_existing_table(
    database_url: str, database: Database, model: Path, tmp_path: Path
) -> None:
    fill(database, 2)
    into_scores(database_url, model)
    (tmp_path / "more.csv").write_text("id,x0,x1\n2,9,0.5\n3,3,0.5\n")
    words = (tmp_path / "more.csv", "--into", "scores", "--id", "id", "--model", model)
    succeed(predict(*words, DATABASE_URL=database_url))
    assert predicted(database) == [*doubled(1), (2, "[18.0,1.0]", None), *doubled(3)]


@pytest.mark.parametrize("database_kind", SQLITE, indirect=True)
def test_rows_with_the_id_of_another_row_are_not_counted_twice(
    database_url: str, database: Database, model: Path, tmp_path: Path
) -> None:
    fill(database, 2)
    (tmp_path / "twice.csv").write_text("id,x0,x1\n1,9,0.5\n2,3,0.5\n1,4,0.5\n")
    words = (tmp_path / "twice.csv", "--into", "scores", "--id", "id", "--model", model)
    result = predict(*words, DATABASE_URL=database_url)
    said = "2 rows in the table scores\n1 row replaced by a later row with the same id\n"
    assert result.stderr == said


def test_names_and_texts_of_others_never_become_sql(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    key, output, table = 'of "%s" `x`; --', '50% "x"', 'a`b"c%'
    model = models.doubling(tmp_path / "a'b%s.onnx", output=output)
    quote = database.engine.dialect.identifier_preparer.quote
    drop = "'); DROP TABLE customers; --"
    with database.write() as connection:
        raw = connection.execution_options(no_parameters=True)
        name = quote(key).replace("%%", "%")
        raw.exec_driver_sql(f"CREATE TABLE customers ({name} VARCHAR(50) PRIMARY KEY, x0 INT)")
        doubled_quote = drop.replace("'", "''")
        raw.exec_driver_sql(f"INSERT INTO customers VALUES ('{doubled_quote}', 1), ('%s', 1)")
    query = "SELECT c.*, 2 AS x1 FROM customers AS c -- %s ?"
    words = ("--query", query, "--into", table, "--id", key, "--model", model)
    for only in ((), ("--only-new",)):
        succeed(predict(*words, *only, DATABASE_URL=database_url))
    statement = f"SELECT {quote(key)}, {quote(output)} FROM {quote(table)} ORDER BY 1"
    with database.read() as connection:
        raw = connection.execution_options(no_parameters=True)
        found = {tuple(row) for row in raw.exec_driver_sql(statement.replace("%%", "%"))}
    assert found == {("%s", "[2.0,4.0]"), (drop, "[2.0,4.0]")}


# Refused before the run --------------------------------------------------------------------------

COLUMNS = "doubled TEXT, error TEXT, model TEXT, version TEXT, predicted_at TIMESTAMP NULL"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("id BIGINT PRIMARY KEY, doubledd TEXT", "but has 'doubledd'"),
        (f"id BIGINT, {COLUMNS}", "no unique key of the column 'id' alone"),
        (f"id BIGINT PRIMARY KEY, more INT NOT NULL, {COLUMNS}", "'more' of the table scores has"),
    ],
)
def test_a_table_that_cannot_take_the_rows_is_refused(
    database_url: str, database: Database, model: Path, columns: str, message: str
) -> None:
    fill(database, 1)
    execute(database, f"CREATE TABLE scores ({columns})")
    assert message in rejected(database_url, model)
    assert message in rejected(database_url, model, "--check")
    assert rows(database, "SELECT count(*) FROM scores") == [(0,)]


def test_a_table_of_batchline_is_refused(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 1)
    assert "belongs to Batchline" in rejected(database_url, model, "--into", "predictions")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT id, x0, x1 AS xx1 FROM customers", "'x1' (nearest: 'xx1') is missing"),
        ("SELECT x0, x1 FROM customers", "the column 'id' is missing"),
        ("SELECT id, x0, x1 FROM nothing", "the database rejected the query"),
        ("SELEC id", "the database rejected the query"),
        ("DELETE FROM customers", "the database rejected the query"),
    ],
)
def test_a_query_without_the_columns_is_refused(
    database_url: str, database: Database, model: Path, query: str, message: str
) -> None:
    fill(database, 1)
    assert message in rejected(database_url, model, query=query)
    assert tables(database) == {"customers"}


@pytest.mark.parametrize("database_kind", SQLITE, indirect=True)
def test_a_hint_fits_what_is_wrong_with_the_source(
    database_url: str, database: Database, model: Path, tmp_path: Path
) -> None:
    fill(database, 1)
    said = rejected(database_url, model, query="SELECT id, x0, x1 FROM flower")
    assert said.endswith(
        "correct the name in the query, or choose the database with SOURCE_DATABASE_URL"
    )
    assert rejected(database_url, model, query="DELETE FROM customers").endswith(
        "--query takes one SELECT, with another name for each column"
    )
    renamed = rejected(database_url, model, query="SELECT id, x0, x1 AS xx1 FROM customers")
    assert renamed.endswith("let the query select x1, with AS if a column has another name")
    words = ("--query", QUERY, "-o", tmp_path / "out.csv", "--model", model)
    result = predict(*words, SOURCE_DATABASE_URL=f"sqlite:///{tmp_path}/no.db")
    assert isinstance(result.exception, BatchlineError)
    assert result.exception.hint == "correct SOURCE_DATABASE_URL"


def test_check_creates_nothing(database_url: str, database: Database, model: Path) -> None:
    fill(database, 1)
    result = into_scores(database_url, model, "--check")
    assert "reads: x0 (float32), x1 (float32)" in result.stdout
    assert "writes: id, doubled, error, model, version, predicted_at" in result.stdout
    assert tables(database) == {"customers"}


@pytest.mark.parametrize(
    ("id_", "message"),
    [("NULLIF(id, 400) AS id", "id is null in row"), ("id % 400 AS id", "two rows of the query")],
)
def test_an_id_that_is_null_or_repeated_ends_the_run(
    database_url: str, database: Database, model: Path, id_: str, message: str
) -> None:
    fill(database, 401)
    words = ("--if-exists", "replace")
    query = f"SELECT {id_}, x0, x1 FROM customers"
    assert message in rejected(database_url, model, *words, query=query)
    assert tables(database) == {"customers"}


@pytest.mark.parametrize("database_kind", POSTGRESQL, indirect=True)
def test_a_query_may_not_write(database_url: str, database: Database, model: Path) -> None:
    execute(database, "CREATE SEQUENCE counter")
    query = "SELECT nextval('counter') AS id, 1 AS x0, 2 AS x1"
    reason = "the database rejected the query: cannot execute nextval() in a read-only transaction"
    assert reason in rejected(database_url, model, query=query)


@pytest.mark.parametrize("database_kind", SERVERS, indirect=True)
def test_a_password_is_in_no_message(database_url: str, model: Path) -> None:
    url = make_url(database_url).set(username="nobody", password="opensesame")
    words = ("--query", QUERY, "-o", "-", "--output-format", "csv", "--model", model)
    result = predict(*words, SOURCE_DATABASE_URL=url.render_as_string(hide_password=False))
    assert isinstance(result.exception, BatchlineError)
    assert "opensesame" not in result.output + result.exception.detail + result.exception.hint
