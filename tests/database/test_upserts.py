"""Rows are stored as they are, in the fastest way of each database."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Double, MetaData, String, Table, select

from batchline.db.database import Database
from batchline.db.dialects.upserts import write_rows
from batchline.errors import ValueRejected
from tests.conftest import KINDS
from tests.predict_sql import execute, rows

pytestmark = pytest.mark.every_server

POSTGRESQL = [kind for kind in KINDS if kind == "postgresql"]

ODD = ["", "NULL", "null", " a ", 'a "b"', "\\", '\\"', "{x,y}", "%s", "%%", "a\nb\tc", "'", "é🙂"]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def table(database: Database) -> Table:
    found = Table(
        "a %s",
        MetaData(),
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column('x "%"', Double),
        Column("text", String(100)),
    )
    found.create(database.engine)
    return found


def write(database: Database, into: Table, given: Sequence[Sequence[Any]], key: str | None) -> None:
    database.transaction(lambda connection: write_rows(connection, into, given, key))


def stored(database: Database, of: Table) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(of).order_by(of.c.id))]


def test_odd_texts_and_numbers_are_stored_as_they_are(database: Database) -> None:
    into = table(database)
    numbers = [0.1, 1e-300, 1e22, -0.5, None, 1.0 / 3, 123456789.123456789]
    given = [(2**62 + n, numbers[n % 7], text) for n, text in enumerate([*ODD, None])]
    write(database, into, given, None)
    assert stored(database, into) == given


def test_a_row_whose_key_is_there_is_replaced(database: Database) -> None:
    into = table(database)
    write(database, into, [(n, 0.5, "old") for n in range(3_000)], "id")
    write(database, into, [(n, None, "new") for n in range(2_999, 6_000)], "id")
    found = stored(database, into)
    assert len(found) == 6_000
    assert found[2_998:3_000] == [(2_998, 0.5, "old"), (2_999, None, "new")]


@pytest.mark.parametrize("database_kind", POSTGRESQL, indirect=True)
def test_texts_become_values_of_the_types_that_the_columns_have(database: Database) -> None:
    execute(
        database,
        "CREATE TYPE mood AS ENUM ('ok', 'bad')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE TABLE typed (id uuid PRIMARY KEY, n numeric(6, 2), b bit(3), c char(3), m mood,"
        " p pair, j jsonb, l int[], at timestamptz, v varchar(3))",
    )
    names = ["id", "n", "b", "c", "m", "p", "j", "l", "at", "v"]
    into = Table("typed", MetaData(), *[Column(name, String) for name in names])
    one = ("8c1b6b1e-3c1f-4a8e-9d5a-0f6a7c1d2e3f", "1.25", "101", "ab", "ok", '(1,"x,y")')
    more = ('{"a": "\\"b"}', "{1,2}", "2026-11-26 12:00:00+00:00")
    write(database, into, [(*one, *more, "abc")], "id")
    found = rows(database, "SELECT n::text, b::text, m::text, p::text, j->>'a', l FROM typed")
    assert found == [("1.25", "101", "ok", '(1,"x,y")', '"b', [1, 2])]
    with pytest.raises(ValueRejected, match="too long"):
        write(database, into, [(*one, *more, "abcd")], "id")
