"""Connections that die in the middle, on the databases that have connections."""

import pytest
from sqlalchemy import Connection, event

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.errors import CommitUnknown, DatabaseUnavailable
from batchline.task.run import Run
from batchline.task.worker import Worker
from tests.conftest import KINDS
from tests.jobs import make_job

pytestmark = pytest.mark.every_server


@pytest.fixture(params=[kind for kind in KINDS if kind != "sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cut(connection: Connection) -> None:
    """As if the server had closed it: the driver's socket is gone."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.close()


def lose_the_next_commits_reply(database: Database) -> None:
    """The server commits, and the connection dies before it says so."""

    def commit_and_cut(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.commit()
        driver.close()

    event.listen(database.engine, "commit", commit_and_cut, once=True)


def count_items(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM items").scalar_one())


def test_one_that_is_lost_before_the_commit_costs_a_second_attempt(database: Database) -> None:
    attempts = []

    def work(connection: Connection) -> list[int]:
        attempts.append(connection)
        if len(attempts) == 1:
            cut(connection)
        return items.register(connection, NewItems(["[[1]]"]))

    assert len(database.transaction(work)) == 1
    assert len(attempts) == 2
    assert count_items(database) == 1


def test_one_that_is_lost_at_the_commit_is_not_tried_again(database: Database) -> None:
    attempts = []

    def work(connection: Connection) -> None:
        attempts.append(connection)
        items.register(connection, NewItems(["[[1]]"]))
        cut(connection)

    with pytest.raises(CommitUnknown):
        database.transaction(work)
    assert len(attempts) == 1


def test_a_claim_whose_commit_was_not_confirmed_is_given_back(database: Database) -> None:
    ids = [*database.transaction(lambda c: items.register(c, NewItems(["[[1, 2, 3, 4]]"] * 3)))]
    job = make_job(database)
    lose_the_next_commits_reply(database)
    with pytest.raises(CommitUnknown):
        job.hand.claim_pending(job.pace.items)
    taken = job.hand.claim_pending(job.pace.items)
    assert taken is not None
    assert (taken.first_id, taken.last_id) == (ids[0], ids[-1])


def test_a_claim_is_given_back_when_its_run_cannot_be_recorded(database: Database) -> None:
    ids = [*database.transaction(lambda c: items.register(c, NewItems(["[[1, 2, 3, 4]]"] * 3)))]
    job = make_job(database)

    def cut_at_runs(connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith("INSERT INTO runs"):
            cut(connection)

    event.listen(database.engine, "before_cursor_execute", cut_at_runs)
    with pytest.raises(DatabaseUnavailable):
        Run(job, threads=1, on_batch=lambda _: None).execute()
    event.remove(database.engine, "before_cursor_execute", cut_at_runs)

    taken = job.hand.claim_pending(job.pace.items)
    assert taken is not None
    assert (taken.first_id, taken.last_id) == (ids[0], ids[-1])


def test_a_job_once_gives_up_where_only_the_storing_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.task.schedule.OUTAGE_LONGEST_PAUSE", 0.01)
    database.transaction(lambda c: items.register(c, NewItems(["[[1, 2, 3, 4]]"])))

    def cut_at_update(connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith("UPDATE items"):
            cut(connection)

    event.listen(database.engine, "before_cursor_execute", cut_at_update)
    with pytest.raises(DatabaseUnavailable):
        Worker(make_job(database), threads=1).run_once()


def test_one_that_is_lost_while_reading_is_an_outage_not_a_bug(database: Database) -> None:
    def read() -> None:
        with database.read() as connection:
            cut(connection)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        read()


def test_each_connection_is_read_committed(database: Database) -> None:
    with database.read() as connection:
        assert connection.get_isolation_level() == "READ COMMITTED"
