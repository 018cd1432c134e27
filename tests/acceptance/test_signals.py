"""How the commands end."""

import os
import re
import signal
import socket
import sqlite3
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from batchline.constants import CALL_MAX_ROWS, CLAIM_FIRST_ITEMS
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests import models
from tests.conftest import long_only
from tests.in_process import run_here
from tests.service import IRIS, Command, Service, children_of, command_line, migrate, wait_for

ROW = f"[{IRIS}]"


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'batchline.db'}"


def migrated(folder: Path) -> str:
    url = url_of(folder)
    migrate(url)
    return url


@pytest.mark.parametrize("number", [signal.SIGINT, long_only(signal.SIGTERM)])
def test_up_ends_both_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with Service(migrated(tmp_path)) as service:
        children = children_of(service.process.pid)
        assert len(children) == 2
        service.send(number)
        assert service.wait() == 0, service.output
        assert "a process has ended" not in service.output
        assert not any(is_alive(child) for child in children)


def test_up_ends_when_its_job_cannot_be_replaced(tmp_path: Path) -> None:
    with Service(migrated(tmp_path)) as service:
        children = children_of(service.process.pid)
        job = next(child for child in children if b"job" in command_line(child))
        os.kill(job, signal.SIGKILL)
        assert service.wait() == 128 + signal.SIGKILL
        assert "process=job" in service.output
        assert "exit_status=SIGKILL" in service.output
        assert not any(is_alive(child) for child in children)


def test_a_migration_that_ctrl_c_ends_says_how_to_finish_it(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    with closing(sqlite3.connect(tmp_path / "batchline.db")) as other:
        other.execute("BEGIN IMMEDIATE")  # so the migration waits
        with Command("db", "upgrade", DATABASE_URL=url) as command:
            wait_for(lambda: "batchline.db" in open_files(command.process.pid), "the migration")
            command.send(signal.SIGINT)
            assert command.wait() == 128 + signal.SIGINT
            assert command.output == "stopped: to finish it, run `batchline db upgrade` again\n"


def open_files(pid: int) -> list[str]:
    """The names of the files that a process has open."""
    return [each.resolve().name for each in Path(f"/proc/{pid}/fd").iterdir()]


def test_the_children_end_when_up_is_killed(tmp_path: Path) -> None:
    with Service(migrated(tmp_path)) as service:
        children = children_of(service.process.pid)
        service.send(signal.SIGKILL)
        service.wait()
        wait_for(lambda: not any(is_alive(child) for child in children), "the children's end")


def test_sigterm_in_the_middle_leaves_nothing_half_stored(
    database: Database, database_url: str
) -> None:
    for _ in range(30):
        with database.write() as connection:
            items.register(connection, NewItems([ROW] * 1_000))
    with Command("job", DATABASE_URL=database_url, BATCH_WAIT_TIME="0.1") as job:
        wait_for(lambda: count(database, "predictions") > 0, "the first batch")
        job.send(signal.SIGTERM)
        assert job.wait() == 0, job.output
    assert count(database, "claims") == 0
    assert count(database, "predictions") == count(database, "items", "status = 'succeeded'")
    done = run_here("job", "--once", DATABASE_URL=database_url)
    assert done.returncode == 0
    assert count(database, "predictions") == 30_000


@pytest.mark.parametrize("number", [signal.SIGTERM, long_only(signal.SIGINT)])
def test_job_once_that_is_stopped_says_how_much_is_left(
    tmp_path: Path, number: signal.Signals
) -> None:
    model = str(models.slow(tmp_path / "slow.onnx"))
    migrate(url_of(tmp_path), MODEL_FILEPATH=model)
    database = Database(url_of(tmp_path))
    slow = f"[[{10**6}]]"  # a second, however many rows a call takes
    rows = ["[[1]]"] * CLAIM_FIRST_ITEMS + [slow] * 20 * CALL_MAX_ROWS
    database.transaction(lambda connection: items.register(connection, NewItems(rows)))
    settings = {"DATABASE_URL": url_of(tmp_path), "MODEL_FILEPATH": model}
    with Command("job", "--once", **settings) as job:
        wait_for(lambda: count(database, "predictions") > 0, "the first batch")
        job.send(number)
        assert job.wait() == 128 + number, job.output
        assert re.search(rf"job stopped +role=job signal={number.name}", job.output)
        left = count(database, "items", "status = 'pending'")
        assert job.output.endswith(f"predicted, 0 failed, stopped with {left} items left\n")
    database.close()


def test_a_signal_ends_a_job_that_waits_before_it_replaces_a_process(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    database = Database(url)
    with database.write() as connection:
        items.register(connection, NewItems([ROW]))
    with Command("job", DATABASE_URL=url) as job:
        wait_for(lambda: count(database, "predictions"), "the first run")
        database.close()
        kill_until_a_pause(job.process.pid)
        job.send(signal.SIGTERM)
        assert job.wait() == 0, job.output


class Crowded(Command):
    """A command of which the second process cannot be started, for once."""

    program = (
        "-c",
        """
import os
import re
from batchline import cli

forks, fork = [], os.fork

def full():
    forks.append(None)
    if len(forks) == 2:
        raise BlockingIOError(11, "no process is left")
    return fork()

os.fork = full
cli.main()
""",
    )


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    with closing(Database(url)) as database:
        register = partial(items.register, new=NewItems([ROW]))
        database.transaction(register)
        with Crowded("job", DATABASE_URL=url, BATCH_WAIT_TIME="0.1") as job:
            wait_for(lambda: count(database, "predictions") == 1, "the first run")
            for child in children_of(job.process.pid):
                os.kill(child, signal.SIGKILL)
            wait_for(lambda: "a process of the job cannot be started" in job.output, "the failure")
            database.transaction(register)
            wait_for(lambda: count(database, "predictions") == 2, "a run of the next process")


def kill_until_a_pause(job: int) -> None:
    """Kill the processes of a job until it waits, which it does longer after each."""

    def waits() -> bool:
        for child in children_of(job):
            os.kill(child, signal.SIGKILL)
        time.sleep(0.2)
        return not children_of(job)

    for _ in range(3):
        wait_for(waits, "a pause")


class Impatient(Command):
    """A command that waits one second, not fifteen, for the batches in progress when it ends."""

    program = (
        "-c",
        "from batchline import cli, constants; constants.DRAIN_TIMEOUT = 1.0; cli.main()",
    )


def start_endless_job(folder: Path, stack: ExitStack, kind: type[Command] = Command) -> Command:
    """A job in the middle of a call of the model that takes days."""
    url = url_of(folder)
    model = str(models.slow(folder / "slow.onnx"))
    migrate(url, MODEL_FILEPATH=model)
    database = Database(url)
    stack.callback(database.close)
    with database.write() as connection:
        items.register(connection, NewItems([f"[[{10**12}]]"]))
    job = stack.enter_context(kind("job", DATABASE_URL=url, MODEL_FILEPATH=model))
    wait_for(lambda: count(database, "claims") > 0, "the claim")
    [worker] = children_of(job.process.pid)
    busy = cpu_ticks(worker) + os.sysconf("SC_CLK_TCK")
    wait_for(lambda: cpu_ticks(worker) > busy, "a second of the model's computing")
    return job


def send_until_it_ends(command: Command, number: signal.Signals) -> int:
    def has_ended() -> bool:
        command.send(number)
        return command.process.poll() is not None

    wait_for(has_ended, "the end")  # without a second signal, another status comes of it
    return command.wait()


def test_a_job_that_does_not_come_to_an_end_gives_its_items_back_in_time(tmp_path: Path) -> None:
    with ExitStack() as stack:
        job = start_endless_job(tmp_path, stack, Impatient)
        job.send(signal.SIGINT)
        assert job.wait() == 128 + signal.SIGINT, job.output  # there is work left
        database = Database(url_of(tmp_path))
        assert (count(database, "claims"), count(database, "items", "status = 'pending'")) == (0, 1)
        database.close()


def test_a_second_signal_ends_a_job_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        job = start_endless_job(tmp_path, stack)
        assert send_until_it_ends(job, signal.SIGTERM) == 128 + signal.SIGTERM


def test_a_second_signal_ends_the_api_at_once(tmp_path: Path) -> None:
    with (
        Service(migrated(tmp_path), "api") as api,
        socket.create_connection(("127.0.0.1", api.port)) as client,
    ):
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        wait_for(api.is_ready, "the request before it to be in flight")
        assert send_until_it_ends(api, signal.SIGTERM) == 128 + signal.SIGTERM


def test_what_was_answered_survives_kill_9_of_everything(tmp_path: Path) -> None:
    with Service(migrated(tmp_path), BATCH_WAIT_TIME="3600") as service:
        ids = [service.register(IRIS) for _ in range(20)]
        for child in children_of(service.process.pid):
            os.kill(child, signal.SIGKILL)
        service.send(signal.SIGKILL)
        service.wait()
    with sqlite3.connect(tmp_path / "batchline.db") as connection:
        stored = [row[0] for row in connection.execute("SELECT id FROM items ORDER BY id")]
    assert stored == ids


def test_many_starters_may_migrate_at_the_same_moment(database_url: str, long: bool) -> None:
    with ExitStack() as stack:
        starters = [
            stack.enter_context(Command("db", "upgrade", DATABASE_URL=database_url))
            for _ in range(4 if long else 2)
        ]
        for starter in starters:
            assert starter.wait() == 0, starter.output
    database = Database(database_url)
    assert count(database, "models") == 1
    assert count(database, "gate") == 1
    database.close()


def count(database: Database, table: str, condition: str = "1 = 1") -> int:
    with database.read() as connection:
        query = f"SELECT count(*) FROM {table} WHERE {condition}"
        return int(connection.exec_driver_sql(query).scalar_one())


def cpu_ticks(pid: int) -> int:
    """The time that a process has computed, of its own and the system's, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
