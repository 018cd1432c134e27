"""The rights of the database's user, and the statements that grant missing ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from batchline.db.dialects.errors import error_code

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
FOR_NO_ROW = {
    "SELECT": "SELECT {column} FROM {table} WHERE 1 = 0",
    "INSERT": "INSERT INTO {table} ({columns}) SELECT {nulls} WHERE 1 = 0",
    "UPDATE": "UPDATE {table} SET {column} = NULL WHERE 1 = 0",
    "DELETE": "DELETE FROM {table} WHERE 1 = 0",
}
"""Statements of which the server checks the rights, and nothing else happens."""
DENIED = {1142, 1143}
"""MySQL's and MariaDB's codes for a statement that the user may not execute."""
MAY = text("SELECT has_table_privilege(:table, :privilege)")
MAY_USE = text(
    "SELECT sequence FROM pg_get_serial_sequence(:table, 'id') AS sequence"
    " WHERE NOT has_sequence_privilege(sequence, 'USAGE')"
)


def missing_grants(connection: Connection, needed: Mapping[Table, Sequence[str]]) -> list[str]:
    """Return the statements that give this user the rights on tables that it lacks.

    SQLite has no users.
    """
    if connection.dialect.name == "sqlite":
        return []
    is_missing = _is_missing if connection.dialect.name == "postgresql" else _is_denied
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for table, privileges in needed.items():
        found = tuple(each for each in privileges if is_missing(connection, table, each))
        if found:
            lacking[found].append(table.name)
    if connection.dialect.name == "postgresql":
        return [*_grants_on_postgresql(connection, lacking), *_sequences(connection, needed)]
    return _grants_on_mysql(connection, lacking, len(needed))


def _is_missing(connection: Connection, table: Table, privilege: str) -> bool:
    asked = {"table": table.name, "privilege": privilege}
    return not connection.execute(MAY, asked).scalar_one()


def _is_denied(connection: Connection, table: Table, privilege: str) -> bool:
    """Whether the server denies a statement for no row."""
    names = [column.name for column in table.columns]
    statement = FOR_NO_ROW[privilege].format(
        table=table.name,
        column=names[-1],
        columns=", ".join(names),
        nulls=", ".join(["NULL"] * len(names)),
    )
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if error_code(error) in DENIED:
            return True
        raise
    return False


def _grants_on_postgresql(
    connection: Connection, lacking: Mapping[tuple[str, ...], Sequence[str]]
) -> list[str]:
    user = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    return [
        f"GRANT {', '.join(privileges)} ON {', '.join(tables)} TO {user}"
        for privileges, tables in lacking.items()
    ]


def _sequences(connection: Connection, needed: Mapping[Table, Sequence[str]]) -> list[str]:
    with_ids = [table for table in needed if "id" in table.c and "INSERT" in needed[table]]
    found = [connection.execute(MAY_USE, {"table": table.name}).scalar() for table in with_ids]
    names = [name for name in found if name is not None]
    if not names:
        return []
    user = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    return [f"GRANT USAGE ON SEQUENCE {', '.join(names)} TO {user}"]


def _grants_on_mysql(
    connection: Connection, lacking: Mapping[tuple[str, ...], Sequence[str]], all_tables: int
) -> list[str]:
    if not lacking:
        return []
    query = "SELECT DATABASE(), CURRENT_USER()"
    database, account = connection.exec_driver_sql(query).one()
    name, _, host = account.rpartition("@")
    return [
        f"GRANT {', '.join(privileges)} ON {database}.{table} TO '{name}'@'{host}'"
        for privileges, tables in lacking.items()
        for table in (["*"] if len(tables) == all_tables else tables)
    ]
