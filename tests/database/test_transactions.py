"""A transaction is done whole or not at all."""

import pytest
from sqlalchemy import Connection

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems

pytestmark = pytest.mark.every_server


def test_work_that_raises_is_rolled_back(database: Database) -> None:
    def work(connection: Connection) -> None:
        items.register(connection, NewItems(["[[1]]"]))
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.transaction(work)
    with database.read() as connection:
        assert items.get(connection, 1) is None
