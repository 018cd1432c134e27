"""Alembic migrations, run by `batchline db upgrade` and by `batchline up`."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import structlog
from sqlalchemy import Connection

from batchline.constants import LOGGED_IDS, MIGRATION_TIMEOUT, TABLE_LOCK_INTERVAL
from batchline.db.cruds import claim_lock, high_ids, schema
from batchline.db.database import Database
from batchline.db.dialects import schemas, sequences
from batchline.db.dialects.errors import is_lock_timeout
from batchline.db.dialects.locks import migration_lock, wait_briefly
from batchline.db.dialects.server_settings import check_settings
from batchline.db.migrations import indexes, results_view, user_objects
from batchline.db.models import metadata, results
from batchline.errors import BatchlineError

log = structlog.get_logger(__name__)


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`. A schema that has it already stays as it is.
    PostgreSQL goes on with ids above those that clients chose themselves. On the other databases,
    rows with the highest ids of all get lower ones, so that some are left to assign.

    The indexes come last, and only with the newest revision. Meanwhile clients can write. No
    statement of a migration has a time limit: an index on many rows takes its time.

    Raises:
        ForeignTables: another program created tables or views with our names. Nothing was changed.
        ConfigurationError: a view or trigger of the user blocks the migration, or a setting of the
            server does.
        SchemaNewer: a newer Batchline has migrated this database. Nothing was changed.
        TablesMissing: tables that an earlier migration created are gone.
        DatabaseUnavailable: the database does not respond, or another migration is running.
    """
    with closing(database.another(timeout=None)) as unlimited:
        migrate(unlimited, revision)


def migrate(database: Database, revision: str = "head") -> None:
    """Do as `upgrade`, through this engine with its time limit."""
    end = time.monotonic() + MIGRATION_TIMEOUT
    while not _migrate_tables(database, revision, is_last_try=time.monotonic() > end):
        time.sleep(TABLE_LOCK_INTERVAL)
    if revision == "head":
        with _locked(database) as holder:
            _complete(holder)
            indexes.complete(holder)
            schema.record_migration(holder)
            claim_lock.restore(holder)
            sequences.advance(holder, metadata.sorted_tables)
            moved = [asdict(each) for each in high_ids.replace(holder)]
            if moved:
                log.warning("rows have lower ids now", rows=len(moved), first=moved[:LOGGED_IDS])


def _complete(connection: Connection) -> None:
    """Create the view again if it was lost, as in a restore that stopped at it."""
    state = schema.read_state(connection)
    schema.check_tables(state)
    if results.name not in state.views:
        results_view.create(connection)


def _migrate_tables(database: Database, revision: str, *, is_last_try: bool) -> bool:
    """Run the migrations. Return False if an open transaction is in the way: then try again.

    Each step can be repeated, and PostgreSQL and SQLite undo all of them.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    try:
        with _locked(database) as connection:
            check_settings(connection)
            state = schema.read_state(connection)
            schema.check_before_migrating(connection, state)
            schema.adopt_older_version(connection, state)
            wait_briefly(connection)
            config.attributes["connection"] = connection
            with user_objects.kept(connection):
                command.upgrade(config, revision)
    except BatchlineError as error:
        if is_last_try or not is_lock_timeout(error.__cause__):
            raise
        return False
    return True


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """Hold the migration lock in a transaction that finds names in our schema."""
    with database.write(patience=MIGRATION_TIMEOUT) as connection, migration_lock(connection):
        schema.check_path(connection)
        schemas.use_only_ours(connection, schema.VERSION_TABLE)
        yield connection
