"""`batchline failures`: why items failed, in groups that `retry` takes."""

import json

import pytest

from batchline.db.cruds import failures, items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests.acceptance.test_retry import ROW, statuses
from tests.in_process import run_here
from tests.service import run


def test_failures_are_grouped_and_a_group_can_be_retried(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        items.register(connection, NewItems(["[[1]]", "oops", "[[1, 2]]", ROW]))
    settings = {"DATABASE_URL": database_url}
    done = run_here("job", "--once", **settings)
    assert (done.returncode, done.stdout) == (0, "1 item predicted, 3 failed\n")
    assert "hint: run `batchline failures`" in done.stderr

    shown = json.loads(run("failures", "--json", **settings).stdout)
    assert shown["failures_read"] == 3
    widths, broken = shown["groups"]
    assert (widths["items"], widths["examples"], widths["model"]) == (2, [3, 1], "default")
    assert (broken["items"], broken["code"]) == (1, "invalid_json")
    assert "line 1 column 1 (char 0)" in broken["example_message"]
    told = run_here("failures", "--code", widths["code"], **settings).stdout
    assert widths["message"] in told
    assert "item 3: " in told
    assert "expected 4 values, got 2" in told

    group = ["--code", widths["code"], "--message", widths["message"]]
    assert run_here("retry", *group, **settings).stdout == "2 items pending again\n"
    assert statuses(database) == ["pending", "failed", "pending", "succeeded"]
    again = run_here("retry", *group, **settings)
    assert again.returncode == 1
    assert "no failed item has the code" in again.stderr
    for words, says in (
        (["--model", "other"], "no model has the name other"),
        (["--model", "default", "--code", "nosuchcode"], "no failed item has the code nosuchcode"),
    ):
        assert run_here("failures", *words, **settings).stdout == f"{says}\n"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_failure_that_is_no_text_hides_no_other(database: Database, database_url: str) -> None:
    with database.write() as connection:
        items.register(connection, NewItems([ROW] * 3))
        connection.exec_driver_sql("UPDATE items SET status = 'failed'")
        for item_id, odd in enumerate(["x'ff'", "5", "'it failed'"], start=1):
            insert = "INSERT INTO failures (item_id, model_id, code, detail)"
            connection.exec_driver_sql(f"{insert} VALUES ({item_id}, 1, {odd}, {odd})")
    shown = run_here("failures", DATABASE_URL=database_url)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "1 item of default: it failed" in shown.stdout
    assert shown.stdout.count("  ids: ") == 3
    group = ("--code", "it failed", "--message", "it failed")
    assert run_here("retry", *group, DATABASE_URL=database_url).stdout == "1 item pending again\n"


@pytest.mark.parametrize(
    ("message", "is_shown"),
    [
        ("data is not JSON: Expecting ',' delimiter: line 1 column 7 (char 6)", True),
        ("data/7/1: expected 4 values, got 12", True),
        ("data/7: expected a list, got a string", True),
        ("data/7: expected an integer, got 4.5", False),
        ("'setosa' is not a class", False),
        ("'expected 4 values, got 12'", False),
        ("expected 4 values, got 12.5", False),
        ("the model ran out of memory", False),
    ],
)
def test_a_message_is_an_example_if_it_cannot_show_a_value_of_a_row(
    message: str, is_shown: bool
) -> None:
    assert failures.without_values(message) == (message if is_shown else None)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_an_item_counts_once_although_several_versions_failed(database: Database) -> None:
    with database.write() as connection:
        items.register(connection, NewItems([ROW, ROW]))
        connection.exec_driver_sql("UPDATE items SET status = 'failed'")
        for item_id, model_id in [(1, 1), (1, 2), (2, 1), (2, 2)]:
            connection.exec_driver_sql(
                "INSERT INTO failures (item_id, model_id, code, detail) "
                f"VALUES ({item_id}, {model_id}, 'model_error', 'no memory for {model_id} bytes')"
            )
        [group], read = failures.groups(connection, code=None, model=None, limit=10)
    assert (group.items, group.examples, read) == (2, [2, 1], 4)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("expected 4 values, got 12", "expected * values, got *"),
        ("'setosa' is not in [\"a\", -1.5e3]", "* is not in [*, *]"),
        ("input float_input2 of v1", "input float_input2 of v1"),
        ("data/7/1: expected a number, got 'x'", "data/*/1: expected a number, got *"),
        ("row 3: data/a/7/10: got 1", "row *: data/a/*/10: got *"),
        ("data/7: expected 2 values", "data/*: expected * values"),
    ],
)
def test_values_in_messages_are_masked(message: str, expected: str) -> None:
    assert failures.masked(message) == expected
    assert failures.masked(expected) == expected
