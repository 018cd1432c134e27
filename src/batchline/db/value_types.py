"""The types of columns, as far as `predict` tells them apart."""

from dataclasses import dataclass
from enum import StrEnum


class ValueType(StrEnum):
    """What the values of a column are."""

    INTEGER = "integer"
    UNSIGNED = "unsigned integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TEXT = "text"
    UUID = "uuid"
    LIST = "list"
    TIME = "time"
    OTHER = "other"
    """Dates, JSON and all else that is read as the text that the database writes for it."""
    UNKNOWN = "unknown"
    """SQLite's values have types, and its columns have none."""


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column of a query or of a table."""

    name: str
    type: ValueType
