"""A transaction is done whole or not at all."""

import pytest
from sqlalchemy import Connection

from batchline import metrics
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import Conflict, StatementFailed

pytestmark = pytest.mark.every_server


def test_work_that_raises_is_rolled_back(database: Database) -> None:
    def work(connection: Connection) -> None:
        items.register(connection, NewItems(["[[1]]"]))
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.transaction(work)
    with database.read() as connection:
        assert items.get(connection, 1) is None


def test_a_value_that_is_missing_is_not_taken_for_a_row_that_exists(database: Database) -> None:
    before = _errors_counted()
    with pytest.raises(StatementFailed, match="rejected a statement"), database.write() as c:
        c.exec_driver_sql("INSERT INTO items (data) VALUES (NULL)")
    assert _errors_counted() == before + 1
    twice = "INSERT INTO batchline_migrations (revision, oldest_code) VALUES ('x', ''), ('x', '')"
    with pytest.raises(Conflict, match="has such a row already"), database.write() as c:
        c.exec_driver_sql(twice)
    assert _errors_counted() == before + 1


def _errors_counted() -> float:
    return metrics.own().read().get((metrics.DATABASE_ERRORS.name,), 0)
