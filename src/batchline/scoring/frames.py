"""Predict a table in memory: pandas, polars or pyarrow in, and the same library out.

Columns pass through Arrow, and only those that the model reads. The kept ones stay where they are.
Neither pandas nor polars is imported before a table of it comes.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from batchline.constants import FILE_BLOCK_ROWS
from batchline.errors import Fault
from batchline.file_errors import InvalidColumns
from batchline.files.blocks import Block, RowError, Trouble
from batchline.files.csv_cells import Report
from batchline.files.kinds import Kind
from batchline.files.table_rows import TableRows
from batchline.files.typed import can_become, column_faults, features_of, note
from batchline.scoring.error_limit import ErrorLimit
from batchline.scoring.python_values import natural, row_by_row
from batchline.scoring.scorer import Scored, Scorer
from batchline.scoring.summary import Summary


@dataclass(frozen=True, slots=True)
class _Origin:
    """What errors call a table."""

    path: str = "table"
    row_group: int | None = None


ORIGIN = _Origin()

Kinds = Mapping[str, Kind]
Given = tuple[pa.RecordBatch, Trouble]
"""A block of columns, with what is already known to be wrong with its rows."""


class Table(Protocol):
    """A table of one library."""

    @property
    def names(self) -> Sequence[Any]: ...

    def batches(self, kinds: Kinds) -> Iterator[Given]:
        """Return these columns, in blocks of at most `FILE_BLOCK_ROWS`, and what is wrong."""
        ...

    def extended(self, keep: Sequence[Any], added: pa.Table) -> Any:
        """Return a table of the same library: the kept columns with the added ones behind them."""
        ...


@dataclass(frozen=True, slots=True)
class ArrowTable:
    """A table of pyarrow."""

    table: pa.Table

    @property
    def names(self) -> Sequence[Any]:
        return list(self.table.column_names)

    def batches(self, kinds: Kinds) -> Iterator[Given]:
        yield from _right(self.table.select(list(kinds)).to_batches(FILE_BLOCK_ROWS))

    def extended(self, keep: Sequence[Any], added: pa.Table) -> Any:
        columns = [self.table.column(name) for name in keep] + added.columns
        fields = [self.table.schema.field(name) for name in keep] + list(added.schema)
        return pa.table(columns, schema=pa.schema(fields, self.table.schema.metadata))


@dataclass(frozen=True, slots=True)
class ArrowBatch(ArrowTable):
    """A record batch of pyarrow."""

    def extended(self, keep: Sequence[Any], added: pa.Table) -> Any:
        table = ArrowTable.extended(self, keep, added)
        arrays = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


@dataclass(frozen=True, slots=True)
class PandasTable:
    """A `DataFrame` of pandas. Its index stays."""

    frame: Any

    @property
    def names(self) -> Sequence[Any]:
        return list(self.frame.columns)

    def batches(self, kinds: Kinds) -> Iterator[Given]:
        objects = [name for name in kinds if self.frame[name].dtype == object]
        for start in range(0, len(self.frame), FILE_BLOCK_ROWS):
            rows = self.frame.iloc[start : start + FILE_BLOCK_ROWS]
            trouble = Trouble()
            typed = _converted(rows[[name for name in kinds if name not in objects]])
            arrays = [
                self._of_objects(name, rows[name], kind, partial(note, trouble, name))
                if name in objects
                else typed.column(name)
                for name, kind in kinds.items()
            ]
            yield pa.RecordBatch.from_arrays(arrays, list(kinds)), trouble

    def _of_objects(self, name: str, values: Any, kind: Kind, report: Report) -> pa.Array:
        """Return Python values. Those of another type than the others are errors of their rows."""
        array = natural(values)
        if array is not None and (can_become(array.type, kind) or self._is_typical(name, values)):
            return array
        return row_by_row(values, kind, report)

    def _is_typical(self, name: str, values: Any) -> bool:
        """Whether values of a column are of the same type as the whole column."""
        from pandas.api.types import infer_dtype  # it is there: the table comes from it

        return bool(infer_dtype(values) == infer_dtype(self.frame[name]))

    def extended(self, keep: Sequence[Any], added: pa.Table) -> Any:
        found = self.frame[list(keep)].copy(deep=False)
        for name, column in zip(added.column_names, added.columns, strict=True):
            mapper = _nullable if column.null_count else None
            found[name] = column.to_pandas(types_mapper=mapper).array
        return found


def _converted(frame: Any) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise InvalidColumns(f"pyarrow cannot read the table: {error.args[-1]}") from error


def _nullable(type_: pa.DataType) -> Any:
    """Return the type of pandas that has missing values, or None: the one of numpy has them.

    Numpy has no missing integer: integers would become floats, which rounds large ones.
    """
    from pandas.api.types import pandas_dtype

    if pa.types.is_boolean(type_):
        return pandas_dtype("boolean")
    if pa.types.is_integer(type_):
        return pandas_dtype(str(type_).replace("i", "I").replace("u", "U"))
    return None


@dataclass(frozen=True, slots=True)
class PolarsTable:
    """A `DataFrame` of polars."""

    frame: Any

    @property
    def names(self) -> Sequence[Any]:
        return list(self.frame.columns)

    def batches(self, kinds: Kinds) -> Iterator[Given]:
        yield from _right(pa.table(self.frame.select(list(kinds))).to_batches(FILE_BLOCK_ROWS))

    def extended(self, keep: Sequence[Any], added: pa.Table) -> Any:
        import polars  # it is there: the table comes from it

        new = polars.DataFrame(added)
        return self.frame.select(keep).hstack(new) if keep else new


LIBRARIES: dict[str, Callable[[Any], Table]] = {"pandas": PandasTable, "polars": PolarsTable}


def table_of(frame: Any) -> Table:
    """Return a table that can be predicted.

    Raises:
        TypeError: it is none.
    """
    for each in type(frame).__mro__:
        library = each.__module__.partition(".")[0]
        if each.__name__ == "DataFrame" and library in LIBRARIES:
            return LIBRARIES[library](frame)
    if isinstance(frame, pa.RecordBatch):
        return ArrowBatch(pa.Table.from_batches([frame]))
    if hasattr(frame, "__arrow_c_stream__"):
        return ArrowTable(frame if isinstance(frame, pa.Table) else pa.table(frame))
    kind = f"{type(frame).__module__}.{type(frame).__name__}"
    raise TypeError(f"expected a table of pandas, polars or pyarrow, got {kind}")


def predict_table(
    table: Table, scorer: Scorer, keep: Sequence[Any] | None, limit: ErrorLimit, threads: int
) -> Any:
    """Return a table of the same library, with the predictions behind the kept columns.

    Raises:
        InvalidColumns: the table has not the columns that the model reads, or cannot keep these.
        TooManyErrors: more rows have errors than are allowed.
    """
    schema = scorer.added.schema
    keep = table.names if keep is None else list(keep)
    _check_kept(table.names, keep, schema)
    kinds = {name: kind for name, kind in scorer.kinds.items() if name in table.names}
    _check_present(table, scorer)
    summary, parts = Summary(), []
    for scored in in_order(scorer_of(scorer), blocks(table.batches(kinds), scorer), threads):
        part = pa.RecordBatch.from_arrays(scored.arrays, schema=schema)
        summary.add(part.num_rows, 0, [scored.errors[place] for place in sorted(scored.errors)])
        summary.check(limit)
        parts.append(part)
    summary.check(limit, at_end=True)
    return table.extended(keep, pa.Table.from_batches(parts, schema))


def predict_stream(
    reader: pa.RecordBatchReader, scorer: Scorer, keep: Sequence[str] | None, limit: ErrorLimit
) -> pa.RecordBatchReader:
    """Return the batches of a stream with their predictions, each computed when it is read."""
    added, given = scorer.added.schema, reader.schema
    keep = given.names if keep is None else list(keep)
    _check_kept(given.names, keep, added)
    _check(column_faults(ORIGIN.path, given, scorer.kinds))
    schema = pa.schema([*(given.field(name) for name in keep), *added], given.metadata)

    def batches() -> Iterator[pa.RecordBatch]:
        summary = Summary()
        for block in blocks(_right(_sliced(reader)), scorer):
            scored = scorer.score(block, ORIGIN)
            summary.add(block.rows, 0, [scored.errors[place] for place in sorted(scored.errors)])
            summary.check(limit)
            kept = [block.kept.batch.column(name) for name in keep]  # type: ignore[attr-defined]
            yield pa.RecordBatch.from_arrays([*kept, *scored.arrays], schema=schema)
        summary.check(limit, at_end=True)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _right(batches: Iterable[pa.RecordBatch]) -> Iterator[Given]:
    for batch in batches:
        yield batch, Trouble()


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, FILE_BLOCK_ROWS):
            yield batch.slice(start, FILE_BLOCK_ROWS)


def blocks(batches: Iterable[Given], scorer: Scorer) -> Iterator[Block]:
    """Read the features of record batches.

    Raises:
        InvalidColumns: a column has the wrong type.
    """
    first = 1
    for batch, trouble in batches:
        _check(column_faults(ORIGIN.path, batch.schema, scorer.kinds))
        values = features_of(batch, scorer.kinds, trouble)
        errors = {
            row: RowError(code, detail, ORIGIN.path, first + row, None, None, column, value)
            for row, (code, detail, column, value) in trouble.found.items()
        }
        yield Block(batch.num_rows, values, TableRows(batch), errors, first)
        first += batch.num_rows


def scorer_of(scorer: Scorer) -> Callable[[Block], Scored]:
    return lambda block: scorer.score(block, ORIGIN)


def in_order(
    work: Callable[[Block], Scored], given: Iterable[Block], threads: int
) -> Iterator[Scored]:
    """Do work in threads, in order, a few blocks ahead, which bounds the memory."""
    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="predict") as pool:
        for each in given:
            waiting.append(pool.submit(work, each))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_present(table: Table, scorer: Scorer) -> None:
    """Check the names alone: the types are known once a block is converted."""
    schema = pa.schema([pa.field(str(name), pa.null()) for name in table.names])
    _check(column_faults(ORIGIN.path, schema, scorer.kinds))


def _check_kept(names: Sequence[Any], keep: Sequence[Any], added: pa.Schema) -> None:
    missing = [name for name in keep if name not in names]
    twice = [name for name, count in Counter([*keep, *added.names]).items() if count > 1]
    _check(
        [
            Fault(ORIGIN.path, "missing_column", f"the column {name!r} is missing, so not kept")
            for name in missing
        ]
        + [
            Fault(ORIGIN.path, "repeated_column", f"two columns would be named {name!r}")
            for name in twice
        ]
    )


def _check(faults: Iterable[Fault]) -> None:
    found = list(faults)
    if found:
        raise InvalidColumns("; ".join(fault.detail for fault in found), faults=found)
