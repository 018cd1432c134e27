"""Rows with types, kept as columns."""

from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from batchline.file_errors import InvalidColumns
from batchline.files.arrays import from_numpy
from batchline.files.blocks import Mask
from batchline.files.common_type import TYPE_HINT
from batchline.files.options import input_name


@dataclass(frozen=True)
class TableRows:
    """Rows of a Parquet file, or of any other source that has Arrow's types.

    Args:
        path: the file, if other files may have other types.
    """

    batch: pa.RecordBatch
    path: str = ""

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def select(self, rows: Mask) -> Self:
        if rows.all():
            return self
        return replace(self, batch=self.batch.filter(from_numpy(rows, pa.bool_())))

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return columns by name, as the types of the schema.

        Raises:
            InvalidColumns: a time is out of the range of the unit that it has in another file.
        """
        columns = [self._column(field) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _column(self, field: pa.Field) -> pa.Array:
        found = self.batch.column(field.name)
        if found.type == field.type:
            return found
        try:
            return found.cast(field.type)
        except pa.ArrowInvalid as error:
            raise InvalidColumns(
                f"{input_name(self.path)}: a value of {field.name!r} is out of the range of "
                f"{field.type}, the type that the column has in another file. Here it is "
                f"{found.type}",
                hint=TYPE_HINT,
            ) from error
