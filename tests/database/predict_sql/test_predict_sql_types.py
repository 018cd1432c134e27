"""Columns of any type in a query: numbers for the model, and text for files."""

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from batchline.db.database import Database
from tests import models
from tests.conftest import KINDS
from tests.predict_sql import execute, fill, into_scores, predict, predicted, rows, succeed

pytestmark = pytest.mark.every_server

MYSQL = """SELECT id, x0, x1, NULL AS n, JSON_ARRAY(1) AS j, TIME '-838:59:59' AS t,
    x'00ff' AS b, b'101' AS bits, CAST(18446744073709551615 AS UNSIGNED) AS u,
    12345678901234567890.123456789 AS exact, POINT(1, 2) AS p, d,
    CASE id WHEN 300 THEN DATE '2026-01-01' END AS late
    FROM customers CROSS JOIN zero"""

ODD = {
    "sqlite": """SELECT id, x0, CAST(x1 AS TEXT) AS x1, NULL AS n, x'00ff' AS b, 1e400 AS i,
        CAST(x'ff41' AS TEXT) AS broken, '12345678901234567890.123456789' AS exact,
        CASE id WHEN 300 THEN '2026-01-01' END AS late,
        CASE id WHEN 300 THEN 'text' ELSE 7 END AS mixed FROM customers""",
    "postgresql": """SELECT id, x0, x1, NULL AS n, '{"a": [1, 2]}'::jsonb AS j,
        'infinity'::date AS d, '0044-03-15 BC'::timestamptz AS bc, gen_random_uuid() AS u,
        ARRAY[[1, NULL]] AS l, 'NaN'::numeric AS nn, 'NaN'::float8 AS f,
        12345678901234567890.123456789::numeric AS exact, '\\x00ff'::bytea AS b,
        '(1,2)'::point AS p, int4range(1, 5) AS r, '1 day'::interval AS t, ROW(1, 'x') AS rec,
        CASE id WHEN 300 THEN date '2026-01-01' END AS late, B'101' AS bits,
        ARRAY['a,b'] AS texts, 'ok'::mood AS mood FROM customers""",
    "mysql": MYSQL,
    "mariadb": MYSQL,
}
TYPES = {
    "postgresql": ["CREATE TYPE mood AS ENUM ('ok', 'bad')"],
    "mysql": ["SET SESSION sql_mode = ''", "CREATE TABLE zero (d DATE)", "INSERT zero VALUES (0)"],
}

POSTGRESQL = [kind for kind in KINDS if kind == "postgresql"]
SQLITE = [kind for kind in KINDS if kind == "sqlite"]
TYPED = [kind for kind in KINDS if kind != "sqlite"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_of_odd_types_are_text_in_files(
    database_url: str,
    database: Database,
    database_kind: str,
    model: Path,
    tmp_path: Path,
    ending: str,
) -> None:
    fill(database, 300)
    execute(database, *TYPES.get(database_kind.replace("mariadb", "mysql"), []))
    output = tmp_path / f"out.{ending}"
    words = ("--query", ODD[database_kind], "--id", "id", "-o", output, "--model", model)
    succeed(predict(*words, DATABASE_URL=database_url))
    if ending == "csv":
        assert len(output.read_text().splitlines()) == 301
        return
    if ending == "parquet":
        found = parquet.read_table(output).to_pylist()
    else:
        found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["doubled"] for row in found] == [[2.0 * n, 1.0] for n in range(1, 301)]
    assert {row["n"] for row in found} == {None}
    assert {row["exact"] for row in found} == {"12345678901234567890.123456789"}
    assert [row["late"] for row in found] == [None] * 299 + ["2026-01-01"]


LISTS = {
    "postgresql": [
        "ARRAY[x0, 1.5]::float4[]",
        "ARRAY[x0, 1.5]::numeric[]",
        "jsonb_build_array(x0, 1.5)",
    ],
    "sqlite": ["'[' || x0 || ', 1.5]'"],
}


def test_an_input_that_is_a_list_is_an_array_or_json(
    database_url: str, database: Database, database_kind: str, model: Path
) -> None:
    fill(database, 2)
    for column in LISTS.get(database_kind, ["CONCAT('[', x0, ', 1.5]')", "JSON_ARRAY(x0, 1.5)"]):
        query = (
            f"SELECT id, {column} AS x FROM customers UNION ALL SELECT 3, NULL FROM customers"
            " WHERE id = 1"
        )
        words = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
        succeed(predict(*words, columns="", DATABASE_URL=database_url), 3)
        [*good, bad] = predicted(database)
        assert good == [(1, "[2.0,3.0]", None), (2, "[4.0,3.0]", None)]
        assert bad[1] is None
        assert "column 'x'" in bad[2]


EXACT = 2**53 + 1
"""An integer that no float64 is equal to."""


def test_an_integer_in_a_list_stays_exact(
    database_url: str, database: Database, database_kind: str, tmp_path: Path
) -> None:
    fill(database, 1)
    model = models.doubling(tmp_path / "integers.onnx", kind=models.INT64)
    lists = [f"'[{EXACT}, 1]'", f"'[{EXACT}, 1.0]'"]
    if database_kind == "postgresql":
        lists = [f"ARRAY[{EXACT}, 1]::bigint[]", f"ARRAY[{EXACT}, 1]::numeric[]", *lists]
    for given in lists:
        query = f"SELECT 1 AS id, {given} AS x"
        words = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
        succeed(predict(*words, columns="", DATABASE_URL=database_url))
        assert predicted(database) == [(1, f"[{2 * EXACT},2]", None)]


@pytest.mark.parametrize("database_kind", SQLITE, indirect=True)
def test_an_integer_beside_floats_stays_exact(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    fill(database, 1)
    model = models.doubling(tmp_path / "integers.onnx", width=1, kind=models.INT64)
    values = EXACT, 2.0**60, "NULL", 1.5
    query = " UNION ALL ".join(f"SELECT {n} AS id, {x} AS x" for n, x in enumerate(values, 1))
    words = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
    succeed(predict(*words, columns="", DATABASE_URL=database_url), 3)
    first, second, missing, fraction = predicted(database)
    assert [first, second] == [(1, 2 * EXACT, None), (2, 2**61, None)]
    assert missing[1] is fraction[1] is None
    assert "column 'x': expected an integer, got '1.5'" in fraction[2]


def test_a_list_with_a_wrong_item_is_an_error_of_its_row(
    database_url: str, database: Database, database_kind: str, model: Path
) -> None:
    fill(database, 1)
    wrong = {
        "[1, true]": "expected a number, got 'true'",
        '[1, "2"]': "expected a list of values without quotes",
        "[1, [2]]": "expected a list, got '[1, [2]]'",
        "[1]": "expected 2 values, got 1",
        "[1, 2": "expected a list, got '[1, 2'",
    }
    given = ["[1, 1e400]", *wrong]
    query = " UNION ALL ".join(f"SELECT {n} AS id, '{x}' AS x" for n, x in enumerate(given))
    words = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
    succeed(predict(*words, columns="", DATABASE_URL=database_url), 3)
    range_, *errors = (error for _, _, error in predicted(database))
    assert "the number is out of the range of float32, got '1e400'" in range_
    for error, expected in zip(errors, wrong.values(), strict=True):
        assert f"column 'x': {expected}" in error


def test_a_number_that_the_model_cannot_take_is_an_error_of_its_row(
    database_url: str, database: Database, database_kind: str, model: Path
) -> None:
    fill(database, 2)
    bad = {"sqlite": "'many'", "postgresql": "'NaN'::numeric"}.get(database_kind, "1e300")
    query = f"SELECT id, CASE id WHEN 2 THEN {bad} ELSE x0 END AS x0, 0.5 AS x1 FROM customers"
    into_scores(database_url, model, query=query, code=3)
    found = predicted(database)
    assert found[0] == (1, "[2.0,1.0]", None)
    assert found[1][1] is None
    assert "column 'x0'" in found[1][2]


@pytest.mark.parametrize("database_kind", TYPED, indirect=True)
def test_a_column_of_texts_is_refused_for_a_number(
    database_url: str, database: Database, model: Path
) -> None:
    fill(database, 1)
    query = "SELECT id, note AS x0, x1 FROM customers"
    result = predict("--query", query, "--check", "--model", model, DATABASE_URL=database_url)
    assert "'x0' must be float32, but its type is text" in str(result.exception)


@pytest.mark.parametrize("database_kind", POSTGRESQL, indirect=True)
def test_a_uuid_is_an_id(database_url: str, database: Database, model: Path) -> None:
    execute(
        database,
        "CREATE TABLE people AS SELECT gen_random_uuid() AS id, 1 AS x0, n AS x1"
        " FROM generate_series(1, 600) AS n",
    )
    query = "SELECT * FROM people"
    into_scores(database_url, model, query=query)
    result = into_scores(database_url, model, "--only-new", query=query)
    assert result.stderr == "0 new rows in the table scores\n"
    both = "SELECT count(*) FROM people JOIN scores ON people.id = scores.id"
    assert rows(database, both) == [(600,)]
