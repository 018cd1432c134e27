"""An error of the database does not repeat the values of the statement, which may be rows."""

from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import Connection, text

from batchline.db.database import Database
from batchline.db.dialects.inserts import insert_many, insert_returning_ids
from batchline.errors import BatchlineError
from batchline.redaction import traceback_text

PLANTED = "".join(("planted-", "row"))
"""It is in no line of code, which a traceback has."""


def taken(connection: Connection) -> None:
    statement = text("INSERT INTO api_keys (name, role, sha256) VALUES (:name, 'read', '0')")
    for _ in range(2):
        connection.execute(statement, {"name": PLANTED})


def too_long(connection: Connection) -> None:
    insert_returning_ids(connection, "items", {"data": ["[]"], "custom_id": [PLANTED * 40]})


def too_long_in_a_copy(connection: Connection) -> None:
    columns = {"data": [f'["{PLANTED}"]'] * 200, "custom_id": [PLANTED * 40] * 200}
    insert_returning_ids(connection, "items", columns)


def no_integer(connection: Connection) -> None:
    statement = text("UPDATE items SET lane = :lane WHERE custom_id = :lane OR id > 0")
    connection.execute(text("INSERT INTO items (data) VALUES ('[]')"))
    connection.execute(statement, {"lane": PLANTED})


def null(connection: Connection) -> None:
    statement = text("INSERT INTO items (data, custom_id) VALUES (:data, :custom_id)")
    connection.execute(statement, {"data": None, "custom_id": PLANTED})


def unknown_table(connection: Connection) -> None:
    insert_many(connection, "no_such_table", {"data": [PLANTED]})


def refuse(connection: Connection, fail: Callable[[Connection], None]) -> None:
    fail(connection)
    raise BatchlineError("the database took it")  # SQLite takes most of them


@pytest.mark.parametrize(
    "fail", [taken, too_long, too_long_in_a_copy, no_integer, null, unknown_table]
)
def test_an_error_of_a_statement_has_none_of_its_values(
    database: Database, fail: Callable[[Connection], None]
) -> None:
    with pytest.raises(BatchlineError) as caught:
        database.transaction(lambda connection: refuse(connection, fail))
    assert PLANTED not in caught.value.detail
    assert PLANTED not in traceback_text(caught.value)


@pytest.mark.parametrize(
    "options",
    ["?sslpassword=hunter2&no_option=1", "?password=hunter2&no_option=1", "?passwd=hunter2&x=1"],
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_an_error_of_a_url_has_none_of_its_passwords(scheme: str, options: str) -> None:
    with closing(Database(f"{scheme}://me:s3cret@127.0.0.1:9/rows{options}")) as database:
        with pytest.raises(BatchlineError) as caught:
            database.check_server()
        for secret in ("hunter2", "s3cret"):
            assert secret not in database.url + caught.value.detail + caught.value.hint
            assert secret not in traceback_text(caught.value)
