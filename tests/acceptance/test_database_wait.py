"""The API and the job may start before the database."""

import signal
from contextlib import ExitStack

import pytest

from devservers.server import free_port
from tests.conftest import SERVERS, Servers, first_of
from tests.in_process import run_here
from tests.service import IRIS, Command, Service, migrate, wait_for

WAITING = "waiting for the database"


def nobody() -> str:
    """The URL of a server that has not started."""
    return f"mysql://me@127.0.0.1:{free_port()}/rows"


@pytest.mark.parametrize("kind", first_of(SERVERS[::-1]))
def test_api_and_job_wait_for_a_server_that_starts_later(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    url = server.create_database()
    migrate(url)
    server.kill()
    with ExitStack() as stack:
        job = stack.enter_context(Command("job", "--once", DATABASE_URL=url))
        api = Service(url, "api")
        for each in (api, job):
            wait_for(lambda each=each: WAITING in each.output, "the wait")
        server.restart()
        stack.enter_context(api)
        assert job.wait() == 0, job.output
        assert "database available" in job.output
        assert api.register(IRIS) == 1
    server.drop_database(url)


def test_up_waits_too() -> None:
    with Command("up", DATABASE_URL=nobody(), PORT=str(free_port())) as up:
        wait_for(lambda: WAITING in up.output, "the wait")


def test_the_wait_is_over_after_database_wait() -> None:
    done = run_here("job", "--once", DATABASE_URL=nobody(), DATABASE_WAIT="0.1")
    assert done.returncode == 1
    assert WAITING in done.stderr
    assert "does not respond" in done.stderr.partition("error: ")[2]


def end_by_a_signal(*words: str) -> int:
    """Return the exit code of a command that a signal reaches while it waits."""
    with Command(*words, DATABASE_URL=nobody(), DATABASE_WAIT="86400") as job:
        wait_for(lambda: WAITING in job.output, "the wait")
        job.send(signal.SIGTERM)
        return job.wait()


def test_a_signal_ends_a_job_that_waits_and_has_nothing_to_finish() -> None:
    assert end_by_a_signal("job") == 0


def test_a_job_that_should_predict_once_and_was_stopped_before_says_so() -> None:
    assert end_by_a_signal("job", "--once") == 128 + signal.SIGTERM
