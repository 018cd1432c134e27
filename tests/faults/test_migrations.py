"""Migrations that are killed in the middle while clients write already."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from batchline.db.cruds import claim_lock, schema
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.models import metadata
from batchline.errors import Unavailable
from tests.conftest import Servers
from tests.faults import load, nth_call
from tests.faults.conftest import Figures
from tests.service import wait_for

MOST_POINTS = 500
SHORT = {"killed": range(1, MOST_POINTS, 60), "broken": range(31, MOST_POINTS, 60)}
"""The calls of the short form, by fault."""


class Writer:
    """An SQL client that does not wait for the end of the migration."""

    def __init__(self, url: str) -> None:
        self.stored: dict[str, int] = {}
        self._database = Database(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
            before = len(self.stored)
            wait_for(lambda: len(self.stored) > before, "a row after the migration")
        finally:
            self._over.set()
            self._thread.join()
            self._database.close()

    def _write(self) -> None:
        for number in itertools.count(1):
            while not self._over.wait(0.01):
                try:
                    self.stored |= load.store(self._database, [number])
                    break
                except Unavailable:  # the table is not there yet, or locked
                    continue
            if self._over.is_set():
                return


def new_database(kind: str, servers: Servers, folder: Path, point: int) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / f'{point}.db'}"
    return servers.get(kind).create_database()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", SHORT)
def test_a_migration_that_ends_in_the_middle_under_load_is_finished_by_the_next_start(
    fault: str, database_kind: str, servers: Servers, tmp_path: Path, long: bool, figures: Figures
) -> None:
    ended = 0
    for point in range(1, MOST_POINTS) if long else SHORT[fault]:
        url = new_database(database_kind, servers, tmp_path, point)
        writer = Writer(url)
        with writer.at_work():
            end = nth_call.run("migrate", fault, point, url=url)
            finish(url)
        check(url, writer)
        if database_kind != "sqlite":
            servers.get(database_kind).drop_database(url)
        if end == nth_call.PASSED:
            break
        assert end != nth_call.BUG
        ended += 1
    assert ended > 1
    figures(f"migration {fault}", database_kind, points=ended, lost=0, torn=0)


def finish(url: str) -> None:
    with closing(Database(url)) as database:
        upgrade(database)


def check(url: str, writer: Writer) -> None:
    """The schema is whole, and so is what was written meanwhile."""
    with closing(Database(url)) as database:
        with database.read() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "version_table": schema.VERSION_TABLE}
            )
            assert compare_metadata(context, metadata) == []
            schema.check(connection)
        with database.write() as connection:
            claim_lock.acquire_claim_lock(connection)
        assert load.audit(database, writer.stored).lost == 0
