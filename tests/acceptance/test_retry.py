"""`batchline retry`: failed items get another chance."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from batchline.db import retries
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests.in_process import run_here
from tests.jobs import ACTOR
from tests.service import run

T = TypeVar("T")

ROW = "[[5.1, 3.5, 1.4, 0.2]]"


def statuses(database: Database) -> list[str]:
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT status FROM items ORDER BY id")
        return [str(status) for status in rows.scalars()]


def test_failed_items_are_put_back_by_id_by_code_or_all(
    database: Database, database_url: str
) -> None:
    with database.write() as connection:
        items.register(connection, NewItems(["oops", "[[1]]", "[[2]]", ROW]))
    settings = {"DATABASE_URL": database_url}
    assert run_here("job", "--once", **settings).returncode == 0
    assert statuses(database) == ["failed", "failed", "failed", "succeeded"]

    assert "1 item pending again" in run_here("retry", "--code", "invalid_json", **settings).stdout
    assert statuses(database) == ["pending", "failed", "failed", "succeeded"]
    assert "1 item pending again" in run_here("retry", "--id", "2", "--id", "4", **settings).stdout
    assert statuses(database) == ["pending", "pending", "failed", "succeeded"]

    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE items SET data = '{ROW}'")
    assert "1 item pending again" in run_here("retry", "--all", **settings).stdout
    assert run_here("job", "--once", **settings).returncode == 0
    assert statuses(database) == ["succeeded"] * 4
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM failures").scalar() == 0


def test_retry_of_what_has_not_failed_is_an_error(database: Database, database_url: str) -> None:
    with database.write() as connection:
        items.register(connection, NewItems([ROW, "oops"]))
    settings = {"DATABASE_URL": database_url}
    assert run_here("job", "--once", **settings).returncode == 0
    for words, says in (
        (["--id", "9999"], "no item has the id 9999"),
        (["--id", "1", "--id", "3"], "item 1 has the status succeeded, no item has the id 3"),
        (["--code", "nosuchcode"], "no failed item has the code nosuchcode"),
    ):
        done = run_here("retry", *words, **settings)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {says}\nhint: ")
    done = run_here("retry", "--id", "1", "--id", "2", **settings)
    assert (done.returncode, done.stdout) == (0, "1 item pending again\n")
    assert done.stderr == "note: 1 of the 2 ids is not the id of a failed item\n"
    done = run_here("retry", "--all", **settings)
    assert (done.returncode, done.stdout) == (0, "0 items pending again\n")


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_any_number_of_ids_is_retried(database: Database, database_url: str) -> None:
    with database.write() as connection:
        items.register(connection, NewItems(["oops"]))
    assert run_here("job", "--once", DATABASE_URL=database_url).returncode == 0
    ids = [word for number in range(33_000, 0, -1) for word in ("--id", number)]
    done = run_here("retry", *ids, DATABASE_URL=database_url)
    assert done.stdout == "1 item pending again\n"
    assert done.stderr == "note: 32999 of the 33000 ids are not ids of failed items\n"


class BusyDatabase(Database):
    """After each transaction, a job predicts what is pending. It does so three times at most."""

    runs = 0

    def transaction(self, work: Callable[[Connection], T]) -> T:
        result = super().transaction(work)
        self.runs += 1
        assert self.runs <= 3
        assert run_here("job", "--once", DATABASE_URL=self.url).returncode == 0
        return result


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_retry_ends_and_counts_each_item_once_while_a_job_fails_them_again(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.db.retries.RETRY_ITEMS", 2)
    with database.write() as connection:
        items.register(connection, NewItems(["oops"] * 4))
    assert run_here("job", "--once", DATABASE_URL=database_url).returncode == 0
    assert retries.retry(BusyDatabase(database_url), [[]], "invalid_json", ACTOR, {}) == 4
    assert statuses(database) == ["failed"] * 4


def test_retry_wants_to_know_which() -> None:
    for words in ((), ("--all", "--code", "model_error")):
        done = run("retry", *words)
        assert done.returncode == 2
        assert "give one of --id, --code and --all" in done.stderr
