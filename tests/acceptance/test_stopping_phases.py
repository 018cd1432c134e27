"""SIGTERM in each phase of a batch, while the database takes its time or says nothing more."""

import signal
import time

import pytest

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from devservers.server import free_port
from tests.acceptance.test_signals import count
from tests.conftest import SERVERS, first_of
from tests.faults.proxy import ANYTHING, COMMIT, Proxy
from tests.service import IRIS, Command, migrate, run, wait_for

ITEMS = 400
PHASES = {
    "fetching": rb"items.data",
    "looking for items": rb"FROM items",
    "claiming": rb"FROM gate",
    "confirming the claim": rb"INSERT INTO claims.*" + COMMIT,
    "storing": rb"(INSERT INTO|COPY) .?predictions",
    "confirming the results": rb"(INSERT INTO|COPY) .?predictions.*" + COMMIT,
}
IN_TIME = 18.0
"""The documented seconds for a job to exit after SIGTERM."""
phases = pytest.mark.parametrize("phase", first_of([*PHASES]))
servers = pytest.mark.parametrize("database_kind", SERVERS, indirect=True)


class Impatient(Command):
    """A command that waits one second, not fifteen, for the batches in progress when it ends."""

    program = (
        "-c",
        "from batchline import cli, constants as c; c.DRAIN_TIMEOUT = c.RELEASE_TIMEOUT = 1.0; "
        "cli.main()",
    )


def register(url: str) -> None:
    """Migrate the database, and make items pending."""
    migrate(url)
    database = Database(url)
    database.transaction(lambda c: items.register(c, NewItems([f"[{IRIS}]"] * ITEMS)))
    database.close()


def assert_nothing_is_lost_and_nothing_double(url: str) -> None:
    """Another job predicts the rest. It need not wait until claims expire that are left."""
    database = Database(url)
    assert count(database, "predictions") == count(database, "items", "status = 'succeeded'")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE claims SET expires_at = '2001-01-01 00:00:00'")
    done = run("job", "--once", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert count(database, "predictions") == ITEMS
    assert count(database, "items", "status = 'succeeded'") == ITEMS
    assert (count(database, "failures"), count(database, "claims")) == (0, 0)
    database.close()


@phases
@servers
def test_a_job_that_waits_for_the_database_ends_well_once_it_responds(
    phase: str, database_url: str
) -> None:
    register(database_url)
    with Proxy(database_url) as proxy:
        held = proxy.hold_at(PHASES[phase])
        with Command("job", DATABASE_URL=proxy.url, BATCH_WAIT_TIME="0.1") as job:
            wait_for(lambda: held.struck, phase)
            job.send(signal.SIGTERM)
            time.sleep(0.5)
            assert held.passes
            held.passes.set()
            assert job.wait(IN_TIME) == 0, job.output
    database = Database(database_url)
    assert count(database, "claims") == 0
    database.close()
    assert_nothing_is_lost_and_nothing_double(database_url)


@phases
@servers
def test_a_job_ends_in_time_although_the_database_says_nothing_more(
    phase: str, database_url: str
) -> None:
    register(database_url)
    with Proxy(database_url) as proxy:
        silent = proxy.fall_silent_at(PHASES[phase])
        with Impatient("job", DATABASE_URL=proxy.url, BATCH_WAIT_TIME="0.1") as job:
            wait_for(lambda: silent.struck, phase)
            proxy.fall_silent_at(ANYTHING)
            proxy.drop_silently()
            job.send(signal.SIGTERM)
            assert job.wait(IN_TIME) in (0, 128 + signal.SIGTERM), job.output
    assert_nothing_is_lost_and_nothing_double(database_url)


@servers
def test_an_idle_job_ends_in_time_although_the_database_says_nothing_more(
    database_url: str,
) -> None:
    register(database_url)
    database = Database(database_url)
    with Proxy(database_url) as proxy, Impatient("job", DATABASE_URL=proxy.url) as job:
        wait_for(lambda: count(database, "predictions") == ITEMS, "the first run")
        wait_for(lambda: "run finished" in job.output, "the end of the run")
        proxy.drop_silently()
        job.send(signal.SIGTERM)
        assert job.wait(IN_TIME) in (0, 128 + signal.SIGTERM), job.output
    database.close()
    assert_nothing_is_lost_and_nothing_double(database_url)


class Hasty(Command):
    """A command that waits a moment for a database that is locked, and when it ends."""

    program = (
        "-c",
        "from batchline import cli, constants as c; c.DRAIN_TIMEOUT = c.SQLITE_BUSY_TIMEOUT = 0.2; "
        "cli.main()",
    )


def test_job_once_that_is_stopped_while_it_waits_for_the_database_is_not_done(
    iris_url: str,
) -> None:
    register(iris_url)
    database = Database(iris_url)
    with Hasty("job", "--once", DATABASE_URL=iris_url) as job:
        wait_for(lambda: count(database, "job_processes"), "the heartbeat of the job")
        with database.write():
            wait_for(lambda: "database unavailable" in job.output, "a run that fails")
            job.send(signal.SIGTERM)
            assert job.wait(IN_TIME) == 128 + signal.SIGTERM, job.output
    database.close()


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_job_that_waits_for_a_database_to_start_ends_at_once(kind: str) -> None:
    url = f"{kind}://me@127.0.0.1:{free_port()}/rows"
    with Command("job", DATABASE_URL=url) as job:
        wait_for(lambda: "waiting for the database" in job.output, "the wait")
        job.send(signal.SIGTERM)
        assert job.wait(IN_TIME) in (0, 128 + signal.SIGTERM), job.output
