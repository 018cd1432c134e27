"""Blocks → Parquet."""

import pyarrow as pa
from pyarrow import parquet

from batchline.constants import PARQUET_GROUP_BYTES, PARQUET_GROUP_ROWS
from batchline.files.blocks import Kept
from batchline.files.csv_writer import Stream


class ParquetWriter:
    """Writes Parquet with the types of the input, and text for what comes from text."""

    def __init__(self, kept: pa.Schema, new: pa.Schema) -> None:
        self._kept = kept
        self._schema = pa.schema([*kept, *new], kept.metadata)
        self._waiting: list[pa.RecordBatch] = []

    def begin(self, stream: Stream) -> None:
        self._writer = parquet.ParquetWriter(
            pa.PythonFile(stream, "w"), self._schema, compression="zstd"
        )

    def encode(self, kept: Kept, new: pa.RecordBatch) -> pa.RecordBatch:
        """Return these rows as columns. Threads may call it at the same time."""
        columns = [*kept.table(self._kept).columns, *new.columns]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def write(self, encoded: pa.RecordBatch) -> None:
        self._waiting.append(encoded)
        rows = sum(batch.num_rows for batch in self._waiting)
        size = sum(batch.nbytes for batch in self._waiting)
        if rows >= PARQUET_GROUP_ROWS or size >= PARQUET_GROUP_BYTES:
            self._flush()

    def end(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting = []
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
