"""A row of a query that ends the process of the model, or at which it never returns."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from batchline import cli
from batchline.db.database import Database
from batchline.scoring.model_process import ModelCopy, ModelProcess
from tests import models
from tests.predict_sql import execute, predict, rows, succeed


@pytest.fixture(autouse=True)
def model_processes() -> None:
    """Real processes call the model here."""


ENDLESS = 10**12
"""Counting so far would take the model days."""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/rows.db")
    execute(database, "CREATE TABLE customers (id INTEGER PRIMARY KEY, x BIGINT)")
    return database


def fill(database: Database, values: list[int]) -> None:
    rows = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
    execute(database, f"INSERT INTO customers VALUES {rows}")


def failed(database: Database) -> dict[int, str]:
    found = rows(database, "SELECT id, error FROM scores WHERE error IS NOT NULL")
    return {number: error.split(":")[0] for number, error in found}


QUERY = "SELECT id, x FROM customers"


def into(database: Database, model: object, **settings: str) -> Result:
    common = ("--query", QUERY, "--into", "scores", "--id", "id", "--model", model)
    return predict(*common, columns="x", DATABASE_URL=database.url, **settings)


def test_a_row_that_ends_the_process_fails_alone(database: Database, tmp_path: Path) -> None:
    fill(database, [2] * 700 + [-1] + [2] * 300)
    succeed(into(database, models.deadly(tmp_path / "deadly.onnx")), 3)
    assert failed(database) == {700: "worker_crashed"}
    assert rows(database, "SELECT count(*) FROM scores") == [(1001,)]


def test_a_row_at_which_the_model_never_returns_fails_alone(
    database: Database, tmp_path: Path
) -> None:
    fill(database, [1] * 5 + [ENDLESS] + [1] * 5)
    succeed(into(database, models.slow(tmp_path / "slow.onnx"), MODEL_TIMEOUT="1"), 3)
    assert failed(database) == {5: "timed_out"}


def test_a_model_that_every_row_ends_is_reported(database: Database, tmp_path: Path) -> None:
    fill(database, [-1] * 50)
    result = into(database, models.deadly(tmp_path / "deadly.onnx"))
    assert result.exit_code == 1
    assert "5 rows failed: the model ended its process" in str(result.exception)


def test_a_model_of_the_database_is_called_in_processes_too(
    database: Database, tmp_path: Path
) -> None:
    fill(database, [2, -1, 2])
    model = str(models.deadly(tmp_path / "deadly.onnx"))
    for words in (["db", "upgrade"], ["models", "add", "deadly", model]):
        succeed(CliRunner().invoke(cli.app, words, env={"DATABASE_URL": database.url}))
    succeed(into(database, "deadly"), 3)
    assert failed(database) == {1: "worker_crashed"}


def test_a_process_that_is_killed_while_it_starts_is_replaced(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, [2, 4])
    start = ModelProcess.__init__
    started = []

    def start_and_kill(process: ModelProcess, model: ModelCopy) -> None:
        start(process, model)
        started.append(process)
        if len(started) == 1:
            process._process.kill()

    monkeypatch.setattr(ModelProcess, "__init__", start_and_kill)
    succeed(into(database, models.deadly(tmp_path / "deadly.onnx")))
    assert len(started) == 2
