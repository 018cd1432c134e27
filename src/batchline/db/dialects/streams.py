"""Read a long result row by row: session settings, types, and how to leave it early.

Values that are neither numbers nor booleans are read as the text that the database writes for them.
Python cannot hold some of them, such as the date `infinity`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult

from batchline.db.value_types import SqlColumn, ValueType

NEVER = 31_536_000
"""The longest `net_write_timeout` of MySQL: a year, in seconds."""

READING = {
    "mysql": f"SET SESSION net_write_timeout = {NEVER}, max_execution_time = 0",
    "mariadb": f"SET SESSION net_write_timeout = {NEVER}, max_statement_time = 0,"
    " idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0",
    "postgresql": "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN"
    " ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')",
}
"""The statement that lets a slow model keep a result open for as long as it takes."""

READ_ONLY = {
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "postgresql": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}

POSTGRESQL_TYPES = {
    **dict.fromkeys((20, 21, 23), ValueType.INTEGER),
    **dict.fromkeys((700, 701), ValueType.FLOAT),
    **dict.fromkeys((25, 1042, 1043), ValueType.TEXT),
    **dict.fromkeys((1000, 1005, 1007, 1016, 1021, 1022, 1231), ValueType.LIST),
    16: ValueType.BOOLEAN,
    1700: ValueType.DECIMAL,
    2950: ValueType.UUID,
}
"""By the object id of the type. The lists are of numbers or booleans."""

POSTGRESQL_NATIVE = {
    ValueType.INTEGER,
    ValueType.FLOAT,
    ValueType.BOOLEAN,
    ValueType.LIST,
}

MYSQL_TYPES = {
    **dict.fromkeys((1, 2, 3, 8, 9, 13, 16), ValueType.INTEGER),
    **dict.fromkeys((4, 5), ValueType.FLOAT),
    **dict.fromkeys((0, 246), ValueType.DECIMAL),
    **dict.fromkeys((15, 249, 250, 251, 252, 253, 254), ValueType.TEXT),
}
"""By the type code of the protocol."""

MYSQL_BIT = 16
MYSQL_UNSIGNED = 32
"""A flag of a column."""


def prepare(connection: Connection) -> None:
    """Begin a transaction that reads a long result, on a connection that does nothing else."""
    name = _name(connection)
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(READ_ONLY[name])
    if name in READING:
        connection.exec_driver_sql(READING[name])
    if name == "postgresql":
        _read_as_text(driver)
    elif name == "sqlite":
        driver.text_factory = lambda value: value.decode(errors="backslashreplace")
    else:
        numbers = {code for code, type_ in MYSQL_TYPES.items() if type_ in POSTGRESQL_NATIVE}
        driver.decoders = {code: f for code, f in driver.decoders.items() if code in numbers}
        driver.decoders[MYSQL_BIT] = _bits


def _read_as_text(driver: Any) -> None:
    from psycopg.types.string import TextLoader

    for each in driver.adapters.types:
        for oid in (each.oid, each.array_oid):
            if oid and POSTGRESQL_TYPES.get(oid) not in POSTGRESQL_NATIVE:
                driver.adapters.register_loader(oid, TextLoader)


def _bits(value: Any) -> int:
    return int.from_bytes(value if isinstance(value, bytes) else value.encode("latin-1"))


def columns_of(result: CursorResult[Any]) -> list[SqlColumn]:
    """Return the columns of a result, as far as the database tells their types."""
    cursor: Any = result.cursor
    name = _name(result.connection)
    codes: Mapping[int, ValueType] = {} if name == "sqlite" else MYSQL_TYPES
    if name == "postgresql":
        codes = POSTGRESQL_TYPES
    other = ValueType.UNKNOWN if name == "sqlite" else ValueType.OTHER
    found = [SqlColumn(each[0], codes.get(each[1], other)) for each in cursor.description]
    if name in ("mysql", "mariadb"):
        flags = [field.flags for field in cursor._result.fields]
        return [_signed(*each) for each in zip(found, flags, strict=True)]
    return found


def _signed(column: SqlColumn, flags: int) -> SqlColumn:
    if column.type is ValueType.INTEGER and flags & MYSQL_UNSIGNED:
        return SqlColumn(column.name, ValueType.UNSIGNED)
    return column


def abandon(result: CursorResult[Any], cursor: Any) -> None:
    """Close a result that is not read to its end, without reading the rest.

    PyMySQL would read it, since the protocol has no other way to stop the server. So the connection
    is closed too.

    Args:
        cursor: the driver's cursor, which a result does not tell after its connection was lost.
    """
    if _name(result.connection) in ("mysql", "mariadb"):
        cursor._result.unbuffered_active = False
        result.connection.invalidate()
    result.close()


def _name(connection: Connection) -> str:
    return (
        "mariadb" if getattr(connection.dialect, "is_mariadb", False) else connection.dialect.name
    )
