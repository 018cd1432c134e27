"""Column types and SQL functions, compiled for each database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    String,
    Text,
    func,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

from batchline.constants import (
    Status,
)

FIRST_TIMESTAMP, LAST_TIMESTAMP = datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7)


class TolerantDateTime(sqlite.DATETIME):
    """SQLite's DATETIME, which reads an invalid text as None. Clients can write any text."""

    def bind_processor(self, dialect: Dialect) -> Any:
        write: Any = super().bind_processor(dialect)

        def process(value: datetime | None) -> str | None:
            # SQLite compares times as texts, and its own clock writes milliseconds.
            return None if value is None else write(value).removesuffix("000")

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        parse: Any = super().result_processor(dialect, coltype)

        def process(value: object) -> datetime | None:
            try:
                return parse(value)  # type: ignore[no-any-return]
            except (TypeError, ValueError):
                return None

        return process


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC datetimes in Python, in a suitable type of each database.

    On MySQL this is TIMESTAMP instead of DATETIME. It stores UTC in any session time zone, and its
    default is not an expression, which MySQL before 8.0.13 does not support.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.TIMESTAMP(fsp=6))
        if dialect.name == "sqlite":
            return TolerantDateTime()  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime(timezone=True))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what is read of a column."""
        return readable_time(column, type_=self)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        utc = value.astimezone(UTC).replace(tzinfo=None)
        # A TIMESTAMP of MySQL has no other times, and cannot be compared with them.
        return utc if dialect.name == "sqlite" else min(max(utc, FIRST_TIMESTAMP), LAST_TIMESTAMP)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):  # a client may have written an invalid time
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Id = BigInteger().with_variant(Integer, "sqlite")
"""A generated key. SQLite generates only INTEGER keys."""


Json = Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")
"""JSON as text. It keeps the order of the labels, which MySQL's JSON type does not, and it can hold
invalid JSON, which then fails as an item with a reason."""


Blob = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


Name = String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
"""A name that is compared exactly. MySQL's default collation ignores case and accents."""


CustomId = String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)

StatusWord = Enum(
    *Status, name="items_status", native_enum=False, create_constraint=True, length=9
).with_variant(mysql.ENUM(*Status), "mysql", "mariadb")


TABLE_OPTIONS: dict[str, Any] = {
    "sqlite_autoincrement": True,  # an id is never used again, even after its item was deleted
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}


class readable_time(FunctionElement[datetime]):
    """A time, or null if Python has no such time. PostgreSQL's range is wider, with infinities."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], type_: UtcDateTime) -> None:
        self.type = type_
        super().__init__(column)


@compiles(readable_time)
def _readable_time(element: readable_time, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(readable_time, "postgresql")
def _readable_time_postgresql(element: readable_time, compiler: Any, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    return f"CASE WHEN {column} >= '0001-01-01 Z' AND {column} < '10000-01-01 Z' THEN {column} END"


SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class utc_now(FunctionElement[datetime]):
    """The database's clock, in milliseconds or microseconds."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now)
def _utc_now(element: utc_now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "mysql", "mariadb")
def _utc_now_mysql(element: utc_now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP(6)"


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: Any, **options: Any) -> str:
    return f"({SQLITE_NOW})"


class clock_time(utc_now):
    """The database's clock when the row is read, and not when its transaction began."""

    inherit_cache = True


@compiles(clock_time, "postgresql")
def _clock_time_postgresql(element: clock_time, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


@compiles(clock_time, "mysql", "mariadb")
def _clock_time_mysql(element: clock_time, compiler: Any, **options: Any) -> str:
    return "SYSDATE(6)"


class byte_length(FunctionElement[int]):
    """The size of a text in bytes."""

    type = Integer()
    inherit_cache = True


@compiles(byte_length)
def _byte_length(element: byte_length, compiler: Any, **options: Any) -> str:
    return f"OCTET_LENGTH({compiler.process(element.clauses, **options)})"


@compiles(byte_length, "sqlite")
def _byte_length_sqlite(element: byte_length, compiler: Any, **options: Any) -> str:
    # SQLite before 3.43 has no octet_length(). The length of a blob is the same number.
    return f"LENGTH(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


class raw_text(FunctionElement[Any]):
    """A text as str or bytes, in the driver's faster form, even if it is not valid UTF-8."""

    type = NullType()
    inherit_cache = True


@compiles(raw_text)
def _raw_text(element: raw_text, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(raw_text, "sqlite")
def _raw_text_sqlite(element: raw_text, compiler: Any, **options: Any) -> str:
    # SQLite stores any bytes as text. Its driver raises for the whole result if one is not UTF-8.
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


class text_or_null(FunctionElement[Any]):
    """A text as `raw_text` reads it, or null for another type, which SQLite can store."""

    type = NullType()
    inherit_cache = True


@compiles(text_or_null)
def _text_or_null(element: text_or_null, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(text_or_null, "sqlite")
def _text_or_null_sqlite(element: text_or_null, compiler: Any, **options: Any) -> str:
    value = compiler.process(element.clauses, **options)
    return f"CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) END"


class same_text(FunctionElement[bool]):
    """Whether a column has exactly this text. MySQL and MariaDB ignore trailing spaces in `=`."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Return it as it is. SQLAlchemy would compare it with 1, and no index would be used."""
        return self


@compiles(same_text)
def _same_text(element: same_text, compiler: Any, **options: Any) -> str:
    column, text = (compiler.process(each, **options) for each in element.clauses)
    return f"({column} = {text})"


@compiles(same_text, "mysql", "mariadb")
def _same_text_mysql(element: same_text, compiler: Any, **options: Any) -> str:
    column, text = list(element.clauses)
    same = compiler.process(column == text, **options)
    length = compiler.process(func.octet_length(column) == func.octet_length(text), **options)
    return f"({same} AND {length})"


SEPARATOR = "\x1e"
"""The separator of concatenated texts. JSON contains this character only escaped."""


class concatenated(FunctionElement[Any]):
    """The texts of several table rows as one text, in the order of a second column.

    The server may truncate it, and SQLite guarantees no order. So two equal results mean equal
    texts, but two different results do not mean different texts.
    """

    type = NullType()
    inherit_cache = True


@compiles(concatenated)
def _concatenated(element: concatenated, compiler: Any, **options: Any) -> str:
    text, order = (compiler.process(each, **options) for each in element.clauses)
    return f"string_agg({text}, chr(30) ORDER BY {order})"


@compiles(concatenated, "mysql", "mariadb")
def _concatenated_mysql(element: concatenated, compiler: Any, **options: Any) -> str:
    text, order = (compiler.process(each, **options) for each in element.clauses)
    return f"GROUP_CONCAT({text} ORDER BY {order} SEPARATOR '\x1e')"


@compiles(concatenated, "sqlite")
def _concatenated_sqlite(element: concatenated, compiler: Any, **options: Any) -> str:
    text, _ = (compiler.process(each, **options) for each in element.clauses)
    return f"CAST(group_concat({text}, char(30)) AS BLOB)"


MYSQL_LONG_CONCATENATION = "/*+ SET_VAR(group_concat_max_len = 67108864) */"
"""Raises MySQL's limit for one statement. MariaDB's default is 1 MiB."""


def among(column: Column[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these ids.

    It is a range if the ids are consecutive, which is usual.
    """
    first, last = min(ids), max(ids)
    return column.between(first, last) if last - first + 1 == len(ids) else column.in_(ids)


def not_indexed(column: Column[str]) -> ColumnElement[str]:
    """Return a column that is only compared in rows that their ids find.

    SQLite, and any database with old statistics, would rather read all entries of an index that
    begins with the column, which may be those of millions of pending items.
    """
    return func.coalesce(column, "")
