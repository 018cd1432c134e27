"""Rows with types, kept as columns."""

from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from batchline.files.arrays import from_numpy
from batchline.files.blocks import Mask


@dataclass(frozen=True)
class TableRows:
    """Rows of a Parquet file, or of any other source that has Arrow's types."""

    batch: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def select(self, rows: Mask) -> Self:
        if rows.all():
            return self
        return replace(self, batch=self.batch.filter(from_numpy(rows, pa.bool_())))

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return columns by name, as the types of the schema."""
        columns = [self._column(field) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _column(self, field: pa.Field) -> pa.Array:
        found = self.batch.column(field.name)
        return found if found.type == field.type else found.cast(field.type)
