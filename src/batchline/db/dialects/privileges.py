"""The rights of the database's user, and the statements that grant missing ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from batchline.db.dialects.errors import is_denied

Rights = Mapping[Table, Sequence[str]]

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
FOR_NO_ROW = {
    "SELECT": "SELECT {column} FROM {table} WHERE 1 = 0",
    "INSERT": "INSERT INTO {table} ({columns}) SELECT {nulls} WHERE 1 = 0",
    "UPDATE": "UPDATE {table} SET {column} = NULL WHERE 1 = 0",
    "DELETE": "DELETE FROM {table} WHERE 1 = 0",
}
"""Statements of which the server checks the rights, and nothing else happens."""
MAY = text("SELECT has_table_privilege(:table, :privilege)")
FULL_NAME = text(
    "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace space"
    " ON space.oid = relnamespace WHERE pg_class.oid = to_regclass(:table)"
)
"""The name that means this table whatever the `search_path` of an administrator is."""
MAY_USE = text(
    "SELECT sequence FROM pg_get_serial_sequence(:table, 'id') AS sequence"
    " WHERE NOT has_sequence_privilege(sequence, 'USAGE')"
)


def missing_grants(connection: Connection, needed: Rights) -> list[str]:
    """Return the statements that give this user the rights on tables that it lacks.

    SQLite has no users.
    """
    if connection.dialect.name == "sqlite":
        return []
    is_missing = _is_missing if connection.dialect.name == "postgresql" else _is_denied
    lacking = {
        table: [each for each in rights if is_missing(connection, table, each)]
        for table, rights in needed.items()
    }
    if connection.dialect.name == "postgresql":
        return [*_grants_on_postgresql(connection, lacking), *_sequences(connection, needed)]
    return _grants_on_mysql(connection, lacking, needed)


def _by_rights(lacking: Rights) -> dict[str, list[Table]]:
    """Return the tables that lack the same rights."""
    found: dict[str, list[Table]] = defaultdict(list)
    for table, rights in lacking.items():
        if rights:
            found[", ".join(rights)].append(table)
    return found


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
        if is_denied(error):
            return True
        raise
    return False


def _grants_on_postgresql(connection: Connection, lacking: Rights) -> list[str]:
    def full_name(table: Table) -> str:
        return str(connection.execute(FULL_NAME, {"table": table.name}).scalar_one())

    user = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    return [
        f"GRANT {rights} ON {', '.join(map(full_name, tables))} TO {user}"
        for rights, tables in _by_rights(lacking).items()
    ]


def _sequences(connection: Connection, needed: Rights) -> list[str]:
    with_ids = [table for table in needed if "id" in table.c and "INSERT" in needed[table]]
    found = [connection.execute(MAY_USE, {"table": table.name}).scalar() for table in with_ids]
    names = [name for name in found if name is not None]
    if not names:
        return []
    user = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    return [f"GRANT USAGE ON SEQUENCE {', '.join(names)} TO {user}"]


def _grants_on_mysql(connection: Connection, lacking: Rights, needed: Rights) -> list[str]:
    """Return one statement for the rights that all tables lack, and one for each other table."""
    query = "SELECT DATABASE(), CURRENT_USER()"
    database, account = connection.exec_driver_sql(query).one()
    name, _, host = account.rpartition("@")
    place, to = _name(database), f"{_text(name)}@{_text(host)}"
    everywhere = [
        right for right in PRIVILEGES if _tables(right, lacking) == _tables(right, needed)
    ]
    others = {
        table: [each for each in rights if each not in everywhere]
        for table, rights in lacking.items()
    }
    return [
        *([f"GRANT {', '.join(everywhere)} ON {place}.* TO {to}"] if everywhere else []),
        *(
            f"GRANT {rights} ON {place}.{table.name} TO {to}"
            for rights, tables in _by_rights(others).items()
            for table in tables
        ),
    ]


def _tables(right: str, rights: Rights) -> set[Table]:
    return {table for table, found in rights.items() if right in found}


def _name(text: str) -> str:
    """Return a name as MySQL and MariaDB read it."""
    return "`" + text.replace("`", "``") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", "''") + "'"
