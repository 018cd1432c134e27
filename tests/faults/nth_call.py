"""A process of its own in which the n-th call to the database fails.

There is a point before and a point after each statement and each COMMIT. At the n-th point either
the process is killed, or the connection breaks: on a server its socket is shut, on SQLite the call
fails with an I/O error.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import event

from batchline.api.requests import NewItem
from batchline.api.write_queue import WriteQueue
from batchline.constants import DEFAULT_MODEL
from batchline.db import migrations
from batchline.db.database import Database
from batchline.db.new_items import Key
from batchline.errors import Unavailable
from batchline.task.job import Job
from tests.faults import load
from tests.jobs import make_job

PASSED, REFUSED, MENDED, BUG = 0, 3, 4, 5
"""How the process ends: no fault was reached; the fault was reported; it cost nothing; a bug."""


# Processes are forked from one that has imported everything and started nothing.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Orders:
    """What the process shall do, and where it shall fail."""

    operation: str
    fault: str
    point: int
    url: str
    model: Path = Path()
    numbers: tuple[int, ...] = ()
    acknowledgements: Path = Path()


def run(operation: str, fault: str, point: int, url: str, **more: Any) -> int:
    """How such a process ended."""
    process = FORKSERVER.Process(
        target=execute, args=[Orders(operation, fault, point, url, **more)]
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


class Fault:
    """Counts the calls of an engine's driver, and strikes at one of them."""

    def __init__(self, database: Database, orders: Orders) -> None:
        self._engine = database.engine
        self._dialect: Any = database.engine.dialect
        self._kind, self._left = orders.fault, orders.point
        self.struck = False

    def arm(self) -> None:
        """From now on the calls count. The first argument of each leads to the connection."""
        for name in ("do_execute", "do_executemany", "do_commit"):
            setattr(self._dialect, name, self._counted(getattr(self._dialect, name)))
        event.listen(self._engine, "do_executemany", self._before_copy, insert=True)
        event.listen(self._engine, "after_cursor_execute", self._after_copy)

    def _before_copy(self, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("COPY"):  # which is not the dialect's own call
            self._pass_point(cursor)

    def _after_copy(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("COPY"):
            self._pass_point(cursor)

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(target: Any, *arguments: Any) -> Any:
            self._pass_point(target)
            result = call(target, *arguments)
            self._pass_point(target)
            return result

        return counted

    def _pass_point(self, target: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self.struck = True
            self._strike(getattr(target, "connection", target))

    def _strike(self, connection: Any) -> None:
        if self._kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._dialect.name == "sqlite":
            raise sqlite3.OperationalError("disk I/O error")
        shut(connection)


def shut(connection: Any) -> None:
    """Shut the socket below a connection of PyMySQL or psycopg, or of SQLAlchemy around one."""
    driver = getattr(connection, "driver_connection", connection)
    number = driver.pgconn.socket if hasattr(driver, "pgconn") else driver._sock.fileno()
    with socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)


def execute(orders: Orders) -> None:
    """Carry out the orders, and end the process with what became of them."""
    database = Database(orders.url)
    fault = Fault(database, orders)
    try:
        OPERATIONS[orders.operation](database, fault, orders)
    except Unavailable:
        os._exit(REFUSED if fault.struck else BUG)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        os._exit(BUG)
    os._exit(MENDED if fault.struck else PASSED)


def register(database: Database, fault: Fault, orders: Orders) -> None:
    """Register through the intake, and write down what was acknowledged."""
    load.read(database, "SELECT 1")
    fault.arm()
    ids = asyncio.run(register_all(database, orders.numbers))
    orders.acknowledgements.write_text(json.dumps(ids))


async def register_all(database: Database, numbers: Sequence[int]) -> dict[str, int]:
    intake = WriteQueue(database)
    try:
        ids = await asyncio.gather(*(intake.register(*registration(n)) for n in numbers))
    finally:
        await intake.close()
    return {load.key_of(number): item_id for number, item_id in zip(numbers, ids, strict=True)}


def registration(number: int) -> tuple[NewItem, Key | None]:
    data = json.dumps([load.row(number)])
    key = load.key_of(number)
    return NewItem(DEFAULT_MODEL, data), Key(
        sha256(key.encode()).hexdigest(), sha256(data.encode()).hexdigest()
    )


def claim(database: Database, fault: Fault, orders: Orders) -> None:
    job = make_job(database, orders.model)
    fault.arm()
    with free_again(job):
        job.hand.claim_pending(job.pace.items)


def store(database: Database, fault: Fault, orders: Orders) -> None:
    job = make_job(database, orders.model)
    taken = job.hand.claim_pending(job.pace.items)
    assert taken is not None
    fault.arm()
    with free_again(job):
        job.predict(taken)


@contextmanager
def free_again(job: Job) -> Iterator[None]:
    """What fails here has left nothing claimed: the same job gets the items the next time."""
    try:
        yield
    except Unavailable:
        # SQLite knows whether it has committed; an error after it has is one of this file's own.
        sqlite = job.database.engine.dialect.name == "sqlite"
        assert sqlite or job.hand.claim_pending(job.pace.items) is not None
        raise


def migrate(database: Database, fault: Fault, orders: Orders) -> None:
    fault.arm()
    migrations.migrate(database)


OPERATIONS: dict[str, Callable[[Database, Fault, Orders], None]] = {
    "register": register,
    "claim": claim,
    "store": store,
    "migrate": migrate,
}
