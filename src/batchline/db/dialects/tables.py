"""Create a table of predictions, and put a new one in the place of an old one."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Double, Numeric, Table, text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect

from batchline.db.dialects.types import CustomId, Json, UtcDateTime
from batchline.db.value_types import ValueType

TYPES: dict[ValueType, Any] = {
    ValueType.INTEGER: BigInteger(),
    ValueType.UNSIGNED: Numeric(20, 0).with_variant(
        mysql.BIGINT(unsigned=True), "mysql", "mariadb"
    ),
    ValueType.FLOAT: Double(),
    ValueType.BOOLEAN: Boolean(),
    ValueType.UUID: CustomId.with_variant(postgresql.UUID(as_uuid=False), "postgresql"),
    ValueType.TIME: UtcDateTime(),
}
"""The column types. All other values are text."""


def column_type(type_: ValueType, *, is_short: bool) -> Any:
    """Return the type of a column. A short text can be a key, and is compared exactly."""
    return TYPES.get(type_, CustomId if is_short else Json)


def name_limit(connection: Connection) -> int:
    """Return how many characters a name may have."""
    return min(connection.dialect.max_identifier_length, 63)


def ignores_case(connection: Connection) -> bool:
    """Whether two columns may not differ in the case of their letters alone."""
    return connection.dialect.name != "postgresql"


def ignores_spaces(dialect: Dialect) -> bool:
    """Whether texts are equal that differ in the spaces at their ends alone."""
    return dialect.name in ("mysql", "mariadb")


DEPENDENT_VIEWS = text(
    "SELECT min(view.relname) FROM pg_depend"
    " JOIN pg_rewrite ON pg_rewrite.oid = pg_depend.objid"
    " JOIN pg_class view ON view.oid = pg_rewrite.ev_class"
    " WHERE pg_depend.refobjid = to_regclass(:name)"
)


def dependent_view(connection: Connection, name: str, schema: str | None) -> str | None:
    """Return a view that keeps its table from being dropped. Only PostgreSQL has such."""
    if connection.dialect.name != "postgresql":
        return None
    quote = connection.dialect.identifier_preparer.quote
    full = ".".join(quote(each).replace("%%", "%") for each in (schema, name) if each)
    return connection.execute(DEPENDENT_VIEWS, {"name": full}).scalar()


def plain_name(connection: Connection, name: str) -> str:
    """Return a name as it is. SQLAlchemy reads MySQL's with each ` doubled."""
    return name.replace("``", "`") if connection.dialect.name in ("mysql", "mariadb") else name


def drop(connection: Connection, table: str) -> None:
    """Drop a table, whose name is quoted, if it exists."""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")


def put_in_place(connection: Connection, new: Table, name: str, old: str | None) -> None:
    """Give a new table its name, in one step for all who read it.

    Args:
        old: a free name, under which the table that has the name waits to be dropped. None: there
            is no such table.
    """
    quote = connection.dialect.identifier_preparer.quote
    prefix = f"{quote(new.schema)}." if new.schema else ""
    beside, place = prefix + quote(new.name), prefix + quote(name)
    if connection.dialect.name in ("mysql", "mariadb"):
        moves = [f"{beside} TO {place}"]
        if old is not None:
            moves.insert(0, f"{place} TO {prefix}{quote(old)}")
        connection.exec_driver_sql(f"RENAME TABLE {', '.join(moves)}")
        if old is not None:
            drop(connection, prefix + quote(old))
        return
    if connection.dialect.name == "sqlite":
        # Without this, SQLite rejects the change if a view reads the table.
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    if old is not None:
        drop(connection, place)
    connection.exec_driver_sql(f"ALTER TABLE {beside} RENAME TO {quote(name)}")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
