"""Blocks → JSON Lines: the kept lines' own bytes with the new members at their end."""

import json
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from batchline.file_errors import InvalidColumns
from batchline.files.arrays import from_bytes, from_numpy, from_strings
from batchline.files.blocks import Kept
from batchline.files.columns import CLASH_HINT
from batchline.files.csv_writer import Stream, whole_text
from batchline.files.json_rows import BLANK, BLANKS, JsonRows
from batchline.files.json_values import OPENING
from batchline.files.value_texts import join, json_name, json_text


class JsonWriter:
    """Writes JSON Lines. NaN and infinity become null, since JSON has no such numbers."""

    def __init__(self, kept: pa.Schema, new: pa.Schema) -> None:
        self._kept = kept
        self._new = new

    def begin(self, stream: Stream, written: BinaryIO | None = None) -> None:
        self._stream = stream

    def encode(self, kept: Kept, new: pa.RecordBatch) -> Any:
        """Return the text of these rows. Threads may call it at the same time."""
        if not len(kept):
            return b""
        if isinstance(kept, JsonRows):
            heads, is_empty = self._heads(kept)
        else:
            heads = _members(kept.table(self._kept), b"{", len(kept))
            is_empty = np.zeros(len(kept), bool)
            is_empty |= not self._kept.names
        if not self._new.names:
            return whole_text(join(heads, b"}\n"))
        between = from_strings([",", ""]).take(from_numpy(is_empty, pa.int8()))
        return whole_text(join(heads, between, _members(new, b"", len(kept)), b"}\n"))

    def write(self, encoded: Any) -> None:
        self._stream.write(encoded)

    def flush(self) -> bool:
        return True

    def end(self) -> None:
        pass

    def _heads(self, rows: JsonRows) -> tuple[pa.Array, np.ndarray[Any, Any]]:
        """Return the lines without their closing brace, and which have no members."""
        if not rows.keeps_all:
            return self._selected(rows)
        self._check_clashes(rows)
        array = np.frombuffer(rows.data, np.uint8)
        stops = rows.stops - 1
        before = stops - 1
        for row in np.flatnonzero(BLANK[array[before]]).tolist():
            before[row] = rows.starts[row] + len(rows[row][:-1].rstrip(BLANKS)) - 1
        heads = JsonRows(rows.data, rows.starts, stops, False, rows.columns).texts()
        return heads.cast(pa.string()), array[before] == OPENING

    def _selected(self, rows: JsonRows) -> tuple[pa.Array, np.ndarray[Any, Any]]:
        heads = []
        for row in range(len(rows)):
            found = rows.members(row)
            names = [name for name in self._kept.names if name in found]
            heads.append(b"{" + b",".join(json_name(n) + found[n].encode() for n in names))
        is_empty = np.array([len(head) == 1 for head in heads])
        return from_bytes(heads, pa.string()), is_empty

    def _check_clashes(self, rows: JsonRows) -> None:
        """A later line may have a key that the first ones do not have."""
        names = set(self._new.names)
        if b"\\u" not in rows.data and not any(_quoted(name) in rows.data for name in names):
            return
        for row in range(len(rows)):
            if clash := rows.members(row).keys() & names:
                raise InvalidColumns(f"a row already has the key {min(clash)!r}", hint=CLASH_HINT)


def _members(batch: pa.RecordBatch, begin: bytes, rows: int) -> pa.Array:
    """Return the columns of each row as members of an object."""
    parts: list[Any] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        parts += [(b"," if parts else begin) + json_name(name), json_text(column)]
    return join(*parts) if parts else from_bytes([begin] * rows, pa.string())


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode()
