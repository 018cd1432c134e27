"""Whether a table that exists can take predictions."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Self

from sqlalchemy import Connection, Integer, String, inspect

from batchline.db.dialects import tables
from batchline.db.models import metadata, results
from batchline.file_errors import TableUnfit


def check_names(connection: Connection, table: str, columns: Sequence[str]) -> None:
    """Check that a database can have such a table.

    Raises:
        TableUnfit: a name is too long or comes twice, or the table is one of Batchline's own.
    """
    if table.lower() in {*metadata.tables, results.name}:
        raise TableUnfit(
            f"the table {table} belongs to Batchline", hint="name another table with --into"
        )
    limit = tables.name_limit(connection)
    long = [name for name in [table, *columns] if len(name.encode()) > limit]
    if long or not table:
        raise TableUnfit(
            f"a name may have 1 to {limit} bytes, got {(long or [table])[0]!r}",
            hint="give the column another name with --rename OLD=NEW",
        )
    fold = str.lower if tables.ignores_case(connection) else str
    for name, count in Counter(map(fold, columns)).items():
        if count > 1:
            raise TableUnfit(
                f"two columns would be named {name!r}",
                hint="give one of them another name with --rename OLD=NEW",
            )


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """A table as it is.

    Args:
        columns: name → what SQLAlchemy's inspector tells.
        unique: the columns of each unique key.
    """

    name: str
    columns: Mapping[str, Any]
    unique: list[tuple[str, ...]]

    @classmethod
    def find(cls, connection: Connection, name: str, schema: str | None) -> Self | None:
        """Return the table of this name, or None."""
        inspector = inspect(connection)
        if not inspector.has_table(name, schema=schema):
            return None
        columns = inspector.get_columns(name, schema)
        unique: list[Any] = [inspector.get_pk_constraint(name, schema)["constrained_columns"]]
        unique += [e["column_names"] for e in inspector.get_unique_constraints(name, schema)]
        unique += [e["column_names"] for e in inspector.get_indexes(name, schema) if e["unique"]]
        plain = partial(tables.plain_name, connection)
        named = {plain(each["name"]): each for each in columns}
        # An index of an expression has None in the place of a column.
        keys = [tuple(plain(part or "") for part in each) for each in unique if each]
        return cls(name, named, keys)

    def check(self, names: Sequence[str], key: str | None) -> None:
        """Check that rows of these columns can be written.

        Args:
            key: the column that must be unique, and the only one that is. None: it is not needed.

        Raises:
            TableUnfit: a column is missing, another one must have a value, or the key is missing.
        """
        self._check_columns(names)
        others = [each for name, each in self.columns.items() if name not in names]
        needed = [each["name"] for each in others if _needs_value(each)]
        if needed and (needed[0],) not in self.unique:
            raise TableUnfit(
                f"the column {needed[0]!r} of the table {self.name} has no default and may not "
                "be null",
                hint="give it a default, or name another table",
            )
        if key is None:
            return
        if (key,) not in self.unique:
            raise TableUnfit(
                f"the table {self.name} has no unique key of the column {key!r} alone",
                hint=f"add a unique index of {key} to the table, or name another table",
            )
        for each in self.unique:
            if each != (key,) and set(each) <= set(names):
                raise TableUnfit(
                    f"the table {self.name} has another unique key: {', '.join(each)}",
                    hint="drop it, or name another table",
                )

    def _check_columns(self, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in self.columns]
        if not missing:
            return
        near = get_close_matches(missing[0], self.columns, 1)
        similar = f", but has {near[0]!r}" if near else ""
        raise TableUnfit(
            f"the table {self.name} has no column {', '.join(map(repr, missing))}{similar}",
            hint="add the column, give a prediction another name with --rename OLD=NEW, or name "
            "another table",
        )

    def check_origin(self, names: Sequence[str]) -> None:
        """Check that the table has the columns that every table of predictions has.

        Raises:
            TableUnfit: it has not, so it is not replaced.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise TableUnfit(
                f"the table {self.name} has no column {missing[0]!r}, so it is not one of "
                "predictions and is not replaced",
                hint=f"drop {self.name} yourself, or name another table",
            )

    def keys(self, key: str, values: Sequence[Any]) -> tuple[list[Any], Callable[[Any], Any]]:
        """Return ids as the table stores them, and what turns these back."""
        stored = {self._key(key, value): value for value in values}
        return list(stored), lambda found: stored.get(found, stored.get(str(found)))

    def with_keys(self, key: str, place: int, rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return rows whose ids are as the table stores them."""
        return [(*row[:place], self._key(key, row[place]), *row[place + 1 :]) for row in rows]

    def _key(self, name: str, value: Any) -> Any:
        type_ = self.columns[name]["type"]
        if isinstance(type_, Integer) and isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                raise TableUnfit(
                    f"the column {name!r} of the table {self.name} has integers, got the id "
                    f"{value[:100]!r}"
                ) from None
        if isinstance(type_, String) and isinstance(value, int):
            return str(value)
        return value


def _needs_value(column: Any) -> bool:
    has_default = column.get("default") is not None or column.get("computed")
    generated = column.get("identity") or column.get("autoincrement") is True
    return not (column["nullable"] or has_default or generated)
