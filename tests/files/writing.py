"""Copies files with a new column, as the command does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchline.files import Kind, ReadOptions, WriteOptions, open_sink, open_source

LABEL = pa.schema([("label", pa.string())])


def copy(
    source: Path | str,
    path: Path | str,
    new: pa.Schema = LABEL,
    values: Mapping[str, Sequence[Any]] | None = None,
    keep: Sequence[str] | None = None,
    read: ReadOptions | None = None,
    write: WriteOptions | None = None,
    features: Mapping[str, Kind] | None = None,
) -> int:
    """Copy rows without errors. `values` are those of the new columns. The default is "new"."""
    features = features or {}
    with open_source([str(source)], read) as found:
        kept = found.check(features, keep)
        options = write or found.write_options(str(path))
        with open_sink(str(path), kept, new, options) as sink:
            rows = 0
            for part in found.parts():
                for block in part.blocks(features, keep):
                    good = block.kept.select(block.good)
                    every = values or {name: ["new"] * (rows + len(good)) for name in new.names}
                    columns = [
                        pa.array(every[field.name][rows : rows + len(good)], field.type)
                        for field in new
                    ]
                    sink.write(sink.encode(good, columns))
                    rows += len(good)
            sink.commit(rows)
    return rows
