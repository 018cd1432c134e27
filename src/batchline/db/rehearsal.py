"""Prove that all that a service writes can be written, and leave one row behind.

A missing right shows at the first statement, a read-only server at the first write, and a full disk
only at a COMMIT.
"""

import secrets
from contextlib import suppress

from sqlalchemy import Connection, insert, update

from batchline.constants import CLAIM_LEASE, NO_VERSION
from batchline.db import claims, work
from batchline.db.cruds import idempotency, pending, runs, schema
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.dialects import schemas
from batchline.db.dialects.errors import is_denied
from batchline.db.dialects.privileges import PRIVILEGES, missing_grants
from batchline.db.dialects.types import utc_now
from batchline.db.models import checks, metadata, migrations
from batchline.db.new_items import Key, NewItems
from batchline.db.scope import IdRange
from batchline.db.work import Predicted
from batchline.errors import ConfigurationError, DatabaseUnavailable, SchemaOutdated

DATA = "[[1]]"
OWNER = "check"
ROW = 1


class _RolledBack(Exception):
    """Ends a transaction that must not leave its writes."""


def check_schema(database: Database) -> None:
    """Check the schema. If its version cannot be read, find out which rights are missing.

    Raises:
        SchemaOutdated: a migration is missing, or the schema is too new for this code.
        ConfigurationError: a right is missing, or the `search_path` leads elsewhere.
        DatabaseUnavailable: the database does not respond.
    """
    try:
        with database.read() as connection:
            schema.check(connection)
    except (DatabaseUnavailable, SchemaOutdated) as error:
        with database.read() as connection:
            if isinstance(error, SchemaOutdated):
                schemas.check_visible(connection, migrations.name)
            elif is_denied(error.__cause__):
                _check_rights(connection)
        raise


def check_view(database: Database) -> None:
    """Check that the view exists. This user may have no right to read it.

    Raises:
        SchemaOutdated: it is gone, as after a restore that stopped.
    """
    try:
        with database.read() as connection:
            schema.check_view(connection)
    except SchemaOutdated as error:
        hint = "run `batchline db upgrade`"
        raise SchemaOutdated("the database lacks the view results", hint=hint) from error
    except DatabaseUnavailable as error:
        if not is_denied(error.__cause__):
            raise


def rehearse(database: Database) -> None:
    """Write what a registration, a claim and a result write, roll it back, and commit one row.

    Raises:
        ConfigurationError: a right is missing.
        DatabaseUnavailable: nothing can be stored.
    """
    with database.read() as connection:
        _check_rights(connection)
    with suppress(_RolledBack), database.write() as connection:
        _write_everything(connection)
        raise _RolledBack
    database.transaction(_note)


def _check_rights(connection: Connection) -> None:
    needed = dict.fromkeys(metadata.sorted_tables, PRIVILEGES)
    grants = missing_grants(connection, {**needed, migrations: ("SELECT",)})
    if grants:
        raise ConfigurationError(
            f"the database's user {connection.engine.url.username} lacks rights on tables",
            hint=f"as an administrator, run {'; '.join(grants)}",
        )


def _write_everything(connection: Connection) -> None:
    key = Key(secrets.token_hex(32), secrets.token_hex(32))
    answers = idempotency.register(connection, NewItems([DATA], keys=[key]))
    [item_id] = [each for each in answers if isinstance(each, int)]
    run_id = runs.start(connection, OWNER)
    claim = claims.claim_one(connection, item_id, owner=OWNER, lease=CLAIM_LEASE)
    [found] = pending.read_unpredicted(connection, IdRange(item_id, item_id))
    results = VersionResults(NO_VERSION, {item_id: "{}"}, {}, {item_id: ""})
    work.store_in(connection, claim, [Predicted(found, results)])
    runs.finish(connection, run_id, succeeded=1, failed=0, rows_per_second=1.0)


def _note(connection: Connection) -> None:
    this = update(checks).where(checks.c.id == ROW).values(checked_at=utc_now())
    if not connection.execute(this).rowcount:
        connection.execute(insert(checks).values(id=ROW))
