"""Tables of rows to predict, and `batchline predict` on them in this process."""

import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from typer.testing import CliRunner, Result

from batchline import cli
from batchline.db.database import Database
from batchline.errors import BatchlineError
from tests.service import environment

QUERY = "SELECT id, x0, x1 FROM customers"


def execute(database: Database, *statements: str) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def fill(database: Database, count: int, table: str = "customers") -> None:
    """A table of rows whose x0 is the id and whose x1 is 0.5."""
    execute(
        database,
        f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, x0 DOUBLE PRECISION,"
        " x1 NUMERIC(9, 2), note VARCHAR(200))",
    )
    for start in range(1, count + 1, 1_000):
        values = (f"({n}, {n}, 0.5, 'n')" for n in range(start, min(start + 1_000, count + 1)))
        execute(database, f"INSERT INTO {table} VALUES {', '.join(values)}")


def predict(*words: object, columns: str = "x0,x1", **settings: str) -> Result:
    """Run the command in this process."""
    named = ("--columns", columns) if columns else ()
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(**settings).items():
            patch.setenv(name, value)
        found = CliRunner().invoke(cli.app, ["predict", *named, *map(str, words)])
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return found


def succeed(result: Result, code: int = 0) -> Result:
    assert result.exit_code == code, (result.output, result.exception)
    return result


def into_scores(
    url: str, model: Path, *words: object, query: str = QUERY, code: int = 0, **settings: str
) -> Result:
    """Predict the rows of a query into the table `scores`."""
    common = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
    return succeed(predict(*common, *words, **{"DATABASE_URL": url, **settings}), code)


def rejected(url: str, model: Path, *words: object, query: str = QUERY) -> str:
    """The error of a run that ends with one."""
    common = ("--query", query, "--into", "scores", "--id", "id", "--model", model)
    result = predict(*common, *words, DATABASE_URL=url)
    assert isinstance(result.exception, BatchlineError), (result.output, result.exception)
    return f"{result.exception.detail}. {result.exception.hint}"


def predicted(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT id, doubled, error FROM scores ORDER BY id")


def doubled(*ids: int) -> list[tuple[Any, ...]]:
    """The rows of `scores` for these ids, as `fill` makes them."""
    return [(n, f"[{2 * n}.0,1.0]", None) for n in ids]
