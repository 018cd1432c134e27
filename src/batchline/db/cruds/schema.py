"""Statements about the version of the database schema.

`batchline_version` is Alembic's table of the newest migration, under a name that no other program
uses. `batchline_migrations` has a row for each migration, with the oldest revision whose code works
on that schema. So code and schema need not change at the same moment.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, inspect, select, text

from batchline.constants import SCHEMA_REVISION
from batchline.db.models import metadata, migrations
from batchline.errors import ForeignTables, SchemaNewer, SchemaOutdated

VERSION_TABLE = "batchline_version"
OLDER_VERSION_TABLE = "alembic_version"
"""The table's name before revision 0003. Other programs use it too."""
OLDER_REVISIONS = {"0001", "0002"}
OLDEST_CODE = "0002"
"""The oldest revision whose code works on the schema of `SCHEMA_REVISION`."""

CREATED_LATER = {
    "model_files": "0002",
    "backfills": "0002",
    "batchline_migrations": "0003",
}
"""The revision that created a table. All others come from the first one."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The state of a database: our newest revision, and the tables that have our names.

    `revision` is None if Batchline has created nothing here, and "" if its first migration was
    interrupted.
    """

    revision: str | None
    tables: frozenset[str]


def check(connection: Connection) -> None:
    """Check that this code works on the schema.

    Raises:
        SchemaOutdated: a migration is missing.
        SchemaNewer: the schema is too new for this code.
    """
    columns = migrations.c.revision, migrations.c.oldest_code
    newest = connection.execute(
        select(*columns).order_by(migrations.c.revision.desc()).limit(1)
    ).first()
    if newest is None or newest.revision < SCHEMA_REVISION:
        found = "no revision" if newest is None else f"revision {newest.revision}"
        raise SchemaOutdated(
            f"the database schema has {found}, but this Batchline needs {SCHEMA_REVISION}",
            hint="run `batchline db upgrade`",
        )
    if newest.oldest_code > SCHEMA_REVISION:
        raise _newer(newest.revision)


def read_state(connection: Connection) -> SchemaState:
    """Find out which of our migrations ran last, and which tables have our names."""
    found = set(inspect(connection).get_table_names())
    ours = frozenset(found & set(metadata.tables))
    if VERSION_TABLE in found:
        return SchemaState(max(_revisions(connection, VERSION_TABLE), default=""), ours)
    if OLDER_VERSION_TABLE in found and {"items", "claims", "gate"} <= ours:
        older = set(_revisions(connection, OLDER_VERSION_TABLE)) & OLDER_REVISIONS
        return SchemaState(max(older, default=None), ours)
    return SchemaState(None, ours)


def check_before_migrating(connection: Connection, state: SchemaState) -> None:
    """Check that migrating will touch nothing that is not ours.

    Raises:
        ForeignTables: another program created tables with our names.
        SchemaNewer: a newer Batchline has migrated this database.
    """
    if state.revision is not None and state.revision > SCHEMA_REVISION:
        raise _newer(state.revision)
    foreign = [name for name in sorted(state.tables) if _is_foreign(connection, name, state)]
    if foreign:
        raise ForeignTables(
            f"the database has tables that Batchline did not create: {', '.join(foreign)}",
            hint="use a database or a schema of its own for Batchline",
        )


def adopt_older_version(connection: Connection, state: SchemaState) -> None:
    """Continue from the revision that an older Batchline wrote to `alembic_version`."""
    if not state.revision or inspect(connection).has_table(VERSION_TABLE):
        return
    connection.execute(
        text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(
        text(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (:revision)"),  # noqa: S608, ours
        {"revision": state.revision},
    )


def record_migration(connection: Connection) -> None:
    """Note that the schema has `SCHEMA_REVISION` now."""
    this = migrations.c.revision == SCHEMA_REVISION
    if connection.execute(select(migrations.c.revision).where(this)).first() is None:
        values = {"revision": SCHEMA_REVISION, "oldest_code": OLDEST_CODE}
        connection.execute(insert(migrations).values(values))


def _newer(revision: str) -> SchemaNewer:
    return SchemaNewer(
        f"a newer Batchline migrated this database to revision {revision}; "
        f"this one works up to revision {SCHEMA_REVISION}",
        hint="upgrade Batchline: pip install --upgrade batchline",
    )


def _revisions(connection: Connection, table: str) -> list[str]:
    return list(connection.execute(text(f"SELECT version_num FROM {table}")).scalars())  # noqa: S608, ours


def _is_foreign(connection: Connection, name: str, state: SchemaState) -> bool:
    if state.revision is None:
        return True
    if state.revision == "" or CREATED_LATER.get(name, "0001") <= state.revision:
        return False
    # A migration that was interrupted may have created it: then it has exactly our columns.
    columns = {column["name"] for column in inspect(connection).get_columns(name)}
    return columns != {column.name for column in metadata.tables[name].columns}
