"""Statements about the version of the database schema.

`batchline_version` is Alembic's table of the newest migration, under a name that no other program
uses. `batchline_migrations` has a row for each migration, with the oldest revision whose code works
on that schema. So code and schema need not change at the same moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Inspector, false, insert, inspect, select, text

from batchline.constants import SCHEMA_REVISION
from batchline.db.cruds import high_ids
from batchline.db.dialects import schemas, sequences
from batchline.db.dialects.connections import without_secrets
from batchline.db.models import metadata, migrations, results
from batchline.errors import (
    ForeignTables,
    SchemaNewer,
    SchemaOutdated,
    SequenceBehind,
    TablesMissing,
)

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
    "api_keys": "0005",
    "key_usage": "0005",
    "audit_entries": "0005",
    "job_processes": "0005",
    "batchline_checks": "0005",
}
"""The revision that created a table. All others come from the first one."""

FIRST_COLUMNS = {
    "items": "id data status created_at",
    "predictions": "id item_id model_id prediction created_at",
    "failures": "item_id model_id code detail created_at",
    "idempotency_keys": "key_sha256 data_sha256 item_id created_at",
    "models": "id name version sha256 signature active created_at",
    "claims": "id owner suspect deaths first_id last_id expires_at created_at",
    "gate": "id",
    "runs": "id owner started_at ended_at items_succeeded items_failed rows_per_second",
    "model_files": "sha256 part content created_at",
    "backfills": (
        "id model model_id status since until first_id last_id next_id created_at ended_at"
    ),
    "batchline_migrations": "revision oldest_code created_at",
    "api_keys": ("id name role sha256 rate items_per_day created_at last_used_at revoked_at"),
    "key_usage": "key_id day items",
    "audit_entries": "id created_at actor action subject detail",
    "job_processes": (
        "id owner host pid version started_at seen_at activity rows_per_second next_run_at "
        "failed_at error"
    ),
    "batchline_checks": "id checked_at",
}
"""The columns with which a migration creates a table. Later migrations add the others."""

VIEWS = {"results": "0004"}
"""Our views, and the revision that created each."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The state of a database: our newest revision, and what has our names.

    `revision` is None if Batchline has created nothing here, and "" if its first migration was
    interrupted. Each name of ours is mapped to the name in the database, where case may differ.
    `tables` and `views` are where we have tables and views. `in_the_way` are views with the name of
    a table and tables with the name of a view.
    """

    revision: str | None
    tables: Mapping[str, str]
    views: Mapping[str, str]
    in_the_way: Mapping[str, str]


def check(connection: Connection) -> None:
    """Check that this code works on the schema.

    Raises:
        SchemaOutdated: a migration is missing.
        SchemaNewer: the schema is too new for this code.
        ForeignTables: the `search_path` leads to a table of another program.
    """
    check_path(connection)
    columns = migrations.c.revision, migrations.c.oldest_code
    newest = connection.execute(
        select(*columns).order_by(migrations.c.revision.desc()).limit(1)
    ).first()
    if newest is None or newest.revision < SCHEMA_REVISION:
        found = "no revision" if newest is None else f"revision {newest.revision}"
        raise SchemaOutdated(
            f"the schema of the database {without_secrets(connection.engine.url)} has {found}, but "
            f"this Batchline needs {SCHEMA_REVISION}",
            hint="run `batchline db upgrade`",
        )
    if newest.oldest_code > SCHEMA_REVISION:
        raise _newer(newest.revision)


def check_path(connection: Connection) -> None:
    """Check that all our names mean tables and views of one schema.

    Raises:
        ForeignTables: the `search_path` leads to a table of another program.
    """
    schemas.check_path(connection, migrations.name, [*metadata.tables, *VIEWS])


def check_sequences(connection: Connection) -> None:
    """Check that the database can assign ids.

    Raises:
        SequenceBehind: a client chose ids itself, and PostgreSQL would assign them again, or the
            other databases have none left.
    """
    high = high_ids.find(connection)
    if high:
        names = ", ".join(f"{name} up to {last}" for name, last in high.items())
        raise SequenceBehind(
            f"the database has no ids left to assign: {names}", hint="run `batchline db upgrade`"
        )
    behind = sequences.behind(connection, metadata.sorted_tables)
    if behind:
        names = ", ".join(f"{name} up to {highest}" for name, highest in behind.items())
        raise SequenceBehind(
            f"PostgreSQL would assign ids that are taken: those of {names}",
            hint="run `batchline db upgrade`",
        )


def read_state(connection: Connection) -> SchemaState:
    """Find out which of our migrations ran last, and which tables and views have our names."""
    found = inspect(connection)
    fold = str.lower if _ignores_case(connection) else str
    tables = {fold(name): name for name in found.get_table_names()}
    views = {fold(name): name for name in _view_names(found)}
    of_tables = (VERSION_TABLE, *metadata.tables)
    return SchemaState(
        revision=_newest_revision(connection, tables),
        tables={name: tables[name] for name in metadata.tables if name in tables},
        views={name: views[name] for name in VIEWS if name in views},
        in_the_way={name: views[name] for name in of_tables if name in views}
        | {name: tables[name] for name in VIEWS if name in tables},
    )


def _ignores_case(connection: Connection) -> bool:
    """Whether two tables cannot have names that differ only in case."""
    if connection.dialect.name in ("mysql", "mariadb"):
        return bool(connection.exec_driver_sql("SELECT @@lower_case_table_names").scalar())
    return connection.dialect.name == "sqlite"


def _view_names(found: Inspector) -> list[str]:
    """Return what can be read like a table and is none of the database's own."""
    from sqlalchemy.dialects.postgresql.base import PGInspector  # slow to import, and rarely needed

    if isinstance(found, PGInspector):
        others = found.get_materialized_view_names() + found.get_foreign_table_names()
        return found.get_view_names() + others
    return found.get_view_names()


def _newest_revision(connection: Connection, tables: Mapping[str, str]) -> str | None:
    if VERSION_TABLE in tables:
        return max(_revisions(connection, VERSION_TABLE), default="")
    if OLDER_VERSION_TABLE in tables and {"items", "claims", "gate"} <= tables.keys():
        older = set(_revisions(connection, OLDER_VERSION_TABLE)) & OLDER_REVISIONS
        return max(older, default=None)
    return None


def check_before_migrating(connection: Connection, state: SchemaState) -> None:
    """Check that migrating will touch nothing that is not ours.

    Raises:
        ForeignTables: another program created tables or views with our names.
        SchemaNewer: a newer Batchline has migrated this database.
    """
    if state.revision is not None and state.revision > SCHEMA_REVISION:
        raise _newer(state.revision)
    tables = [found for name, found in state.tables.items() if _is_foreign(connection, name, state)]
    views = [
        found for name, found in state.views.items() if _is_foreign_view(connection, name, state)
    ]
    foreign = sorted([*tables, *views, *state.in_the_way.values()])
    if foreign:
        raise ForeignTables(
            f"the database has tables or views that Batchline did not create: {', '.join(foreign)}",
            hint="use a database or a schema of its own for Batchline",
        )


def check_tables(state: SchemaState) -> None:
    """Check that the database has all tables of the newest migration.

    Raises:
        TablesMissing: some are gone, as after a restore that stopped.
    """
    missing = sorted(metadata.tables.keys() - state.tables.keys())
    if missing:
        raise TablesMissing(
            f"the database lacks tables that were created before: {', '.join(missing)}",
            hint="restore the backup again, into an empty database",
        )


def check_view(connection: Connection) -> None:
    """Check that the view exists.

    Raises:
        SchemaOutdated: it does not.
    """
    connection.execute(select(results.c.id).where(false()))


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


def record_migration(connection: Connection, revision: str = SCHEMA_REVISION) -> None:
    """Note that the schema has this revision now."""
    this = migrations.c.revision == revision
    if connection.execute(select(migrations.c.revision).where(this)).first() is None:
        values = {"revision": revision, "oldest_code": OLDEST_CODE}
        connection.execute(insert(migrations).values(values))


def _newer(revision: str) -> SchemaNewer:
    return SchemaNewer(
        f"a newer Batchline migrated this database to revision {revision}; "
        f"this one works up to revision {SCHEMA_REVISION}",
        hint="upgrade Batchline: git pull && make install",
    )


def _revisions(connection: Connection, table: str) -> list[str]:
    return list(connection.execute(text(f"SELECT version_num FROM {table}")).scalars())  # noqa: S608, ours


def _is_foreign(connection: Connection, name: str, state: SchemaState) -> bool:
    if state.revision is None:
        return True
    if CREATED_LATER.get(name, "0001") <= state.revision:
        return False
    # A migration that was interrupted may have created it, with these columns at least. All of
    # ours are allowed, because a later migration may have followed before the version was stored.
    columns = {column["name"] for column in inspect(connection).get_columns(state.tables[name])}
    return not set(FIRST_COLUMNS[name].split()) <= columns <= set(metadata.tables[name].c.keys())


def _is_foreign_view(connection: Connection, name: str, state: SchemaState) -> bool:
    if state.revision is None:
        return True
    if VIEWS[name] <= state.revision:
        return False
    columns = [column["name"] for column in inspect(connection).get_columns(state.views[name])]
    return columns != list(results.c.keys())  # else a migration that was interrupted created it
