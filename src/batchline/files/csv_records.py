"""CSV records as bytes, and the cells that pyarrow finds in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from batchline.errors import FileUnreadable
from batchline.files.arrays import from_numpy, scalar, single, spread
from batchline.files.blocks import Mask
from batchline.files.records import CR, LF, Positions

Offsets = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What all records of a file have in common.

    Args:
        header: the names of the columns, in order. They may repeat.
        header_line: the header as it is in the file, without its line break.
    """

    header: tuple[str, ...]
    header_line: bytes = b""
    delimiter: str = ","
    decimal: str = "."
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CsvRecords:
    """Records of one file. Blank lines are left out.

    Args:
        data: bytes with the records in them.
        starts, stops: the range of each record in `data`, without its line break.
    """

    dialect: Dialect
    data: bytes
    starts: Offsets
    stops: Offsets
    is_whole: bool
    """Whether `data` has nothing but the records, their line breaks and blank lines."""

    @classmethod
    def of(cls, dialect: Dialect, data: bytes, ends: Positions) -> Self:
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int32)
        stops = (ends - 1).astype(np.int32)
        array = np.frombuffer(data, np.uint8)
        if b"\r\n" in data:
            pairs = (array[stops] == LF) & (array[stops - 1] == CR) & (stops > starts)
            stops = (stops - pairs).astype(np.int32)
        rows = stops > starts
        if not rows.all():
            starts, stops = starts[rows], stops[rows]
        return cls(dialect, data, starts, stops, True)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.data[self.starts[row] : self.stops[row]]

    def select(self, rows: Mask) -> Self:
        if rows.all():
            return self
        return type(self)(self.dialect, self.data, self.starts[rows], self.stops[rows], False)

    def texts(self) -> pa.Array:
        """Return the bytes of each record."""
        count = len(self)
        offsets = np.empty(2 * count + 1, np.int32)
        offsets[:-1:2], offsets[1::2], offsets[-1] = self.starts, self.stops, len(self.data)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        between = pa.Array.from_buffers(pa.binary(), 2 * count, buffers)
        return between.take(from_numpy(np.arange(0, 2 * count, 2), pa.int32()))

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the cells of these columns as texts. An empty cell without quotes is null."""
        places = {self.dialect.header.index(name): schema.field(name).type for name in schema.names}
        plain = replace(self, dialect=replace(self.dialect, decimal=".", nulls=()))
        cells, _ = plain.cells(places)
        return pa.RecordBatch.from_arrays(list(cells.values()), schema=schema)

    def cells(self, types: Mapping[int, pa.DataType]) -> tuple[dict[int, pa.Array], dict[int, int]]:
        """Return columns by their position, and the rows with a wrong number of fields.

        Those rows are null in all columns. The dictionary has how many fields they have.

        Raises:
            pyarrow.ArrowInvalid: a cell is not of its type.
        """
        wrong: dict[int, int] = {}
        if not len(self):
            return {place: pa.nulls(0, type_) for place, type_ in types.items()}, wrong

        def note(row: Any) -> str:
            wrong[row.number - 1] = row.actual_columns
            return "skip"

        table = self._read({str(place): type_ for place, type_ in types.items()}, note)
        if table.num_rows + len(wrong) != len(self):
            raise FileUnreadable("pyarrow and Batchline found different numbers of records")
        right = np.ones(len(self), bool)
        right[list(wrong)] = False
        found = {place: spread(single(table[str(place)]), right) for place in types}
        return found, wrong

    def _read(self, types: Mapping[str, pa.DataType], note: Callable[[Any], str]) -> pa.Table:
        names = [str(place) for place in range(len(self.dialect.header))]
        data = self._joined()
        return csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                column_names=names, block_size=len(data) + 1, use_threads=False
            ),
            parse_options=csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=list(types) or names[:1],
                null_values=["", *self.dialect.nulls],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                decimal_point=self.dialect.decimal,
                check_utf8=False,
            ),
        )

    def _joined(self) -> bytes | pa.Buffer:
        """Return the records with line breaks and nothing between them."""
        if self.is_whole:
            return self.data
        joined = pc.binary_join_element_wise(self.texts(), scalar(b"\n"), scalar(b""))
        first, last = np.frombuffer(joined.buffers()[1], np.int32)[[0, -1]]
        return joined.buffers()[2].slice(first, last - first)
