"""The schema of PostgreSQL that has Batchline's tables: one of those in the `search_path`."""

from collections.abc import Collection

from sqlalchemy import Connection, text

from batchline.errors import ConfigurationError, ForeignTables

FIND = text(
    "SELECT COALESCE((SELECT nspname FROM pg_class JOIN pg_namespace space"
    " ON space.oid = relnamespace WHERE pg_class.oid = to_regclass(:table)),"
    " (array_remove(current_schemas(false), 'pg_catalog'))[1])"
)

MIXED = text(
    "SELECT ours.relnamespace::regnamespace, other.relnamespace::regnamespace, other.relname"
    " FROM pg_class ours, unnest(CAST(:names AS text[])) name"
    " JOIN pg_class other ON other.oid = to_regclass(name)"
    " WHERE ours.oid = to_regclass(:table) AND other.relnamespace <> ours.relnamespace"
    " ORDER BY other.relname"
)
HIDDEN = text(
    "SELECT quote_ident(nspname), has_schema_privilege(space.oid, 'USAGE'),"
    " quote_ident(current_user) FROM pg_class JOIN pg_namespace space"
    " ON space.oid = relnamespace WHERE relname = :table AND relkind = 'r'"
    " AND to_regclass(:table) IS NULL ORDER BY 1"
)


def check_path(connection: Connection, table: str, names: Collection[str]) -> None:
    """Check that all of these names mean tables and views of one schema.

    Otherwise statements would read and write those of another program, in a schema that comes
    earlier in the `search_path`. On the other databases there is nothing to do.

    Args:
        table: one of ours. If it exists nowhere, none does.

    Raises:
        ForeignTables: a name means a table in another schema.
    """
    if connection.dialect.name != "postgresql":
        return
    found = connection.execute(MIXED, {"table": table, "names": [*names]}).all()
    if found:
        others = ", ".join(f"{schema}.{name}" for _, schema, name in found)
        raise ForeignTables(
            f"Batchline is in the schema {found[0][0]}, but the search_path leads to {others}",
            hint=f"put {found[0][0]} first in the search_path, or drop what is in its way",
        )


def check_visible(connection: Connection, table: str) -> None:
    """Find out why PostgreSQL does not see a table of ours that is missing.

    Raises:
        ConfigurationError: a schema has it, which is not in the `search_path` or may not be used.
    """
    if connection.dialect.name != "postgresql":
        return
    for schema, may_use, user in connection.execute(HIDDEN, {"table": table}):
        if may_use:
            raise ConfigurationError(
                f"Batchline is in the schema {schema}, which the search_path does not lead to",
                hint=f"add options=-csearch_path={schema} to the query of DATABASE_URL",
            )
        raise ConfigurationError(
            f"Batchline is in the schema {schema}, which the database's user {user} may not use",
            hint=f"as an administrator, run GRANT USAGE ON SCHEMA {schema} TO {user}",
        )


def use_only_ours(connection: Connection, table: str) -> None:
    """Let each name mean one of Batchline's schema until the transaction ends.

    Otherwise it could mean a table of another program, in a schema that comes later. On the other
    databases there is nothing to do.

    Args:
        table: one of ours. If it exists nowhere, the first schema becomes Batchline's.

    Raises:
        ConfigurationError: none of the schemas exists.
    """
    if connection.dialect.name != "postgresql":
        return
    found = connection.execute(FIND, {"table": table}).scalar_one()
    if found is None:
        path = connection.exec_driver_sql("SHOW search_path").scalar_one()
        raise ConfigurationError(
            f"no schema of the search_path exists, which is {path}",
            hint="run `CREATE SCHEMA NAME`, or correct the search_path",
        )
    connection.execute(
        text("SELECT set_config('search_path', quote_ident(:schema), true)"), {"schema": found}
    )


def current(connection: Connection) -> str | None:
    """Return the schema in which names are looked up. None: the database has no schemas."""
    if connection.dialect.name != "postgresql":
        return None
    return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
