"""The schema of PostgreSQL that has Batchline's tables: one of those in the `search_path`."""

from sqlalchemy import Connection, text

from batchline.errors import ConfigurationError

FIND = text(
    "SELECT COALESCE((SELECT nspname FROM pg_class JOIN pg_namespace space"
    " ON space.oid = relnamespace WHERE pg_class.oid = to_regclass(:table)), current_schema())"
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
