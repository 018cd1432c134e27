"""Rows as the bytes that came, in one buffer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchline.files.arrays import from_numpy, scalar
from batchline.files.blocks import Mask
from batchline.files.records import CR, LF, Positions

Offsets = NDArray[np.int32]


@dataclass(frozen=True)
class ByteRows:
    """Records of one file.

    Args:
        data: bytes with the records in them.
        starts, stops: the range of each record in `data`, without its line break.
        is_whole: whether `data` has nothing but the records, their line breaks and blank lines.
    """

    data: bytes
    starts: Offsets
    stops: Offsets
    is_whole: bool

    @classmethod
    def cut(cls, data: bytes, ends: Positions, **own: Any) -> Self:
        """Cut data behind each record's line break. Empty records are left out."""
        starts = np.concatenate([[0], ends])[:-1].astype(np.int32)
        stops = (ends - 1).astype(np.int32)
        array = np.frombuffer(data, np.uint8)
        if b"\r" in data:  # a search for two bytes takes a hundred times as long
            pairs = (array[stops] == LF) & (array[stops - 1] == CR) & (stops > starts)
            stops = (stops - pairs).astype(np.int32)
        rows = stops > starts
        if not rows.all():
            starts, stops = starts[rows], stops[rows]
        return cls(data, starts, stops, True, **own)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.data[self.starts[row] : self.stops[row]]

    def select(self, rows: Mask) -> Self:
        if rows.all():
            return self
        return replace(self, starts=self.starts[rows], stops=self.stops[rows], is_whole=False)

    def mended(self, rows: Iterable[int]) -> Self:
        """Return all rows, of which these, which cannot be read, become well-formed."""
        new = {row: self.well_formed(row) for row in sorted(rows)}
        new = {row: record for row, record in new.items() if record != self[row]}
        if not new:
            return self
        pieces, grown, at = [], np.zeros(len(self), np.int32), 0
        for row, record in new.items():
            pieces += [self.data[at : self.starts[row]], record]
            grown[row] = len(record) - len(self[row])
            at = self.stops[row]
        behind = np.cumsum(grown, dtype=np.int32)
        data = b"".join([*pieces, self.data[at:]])
        return replace(
            self, data=data, starts=self.starts + behind - grown, stops=self.stops + behind
        )

    def well_formed(self, row: int) -> bytes:
        """Return a record as a row that readers of its format accept."""
        raise NotImplementedError

    def keeping(self, names: Sequence[str] | None) -> Self:
        """Return the rows, of which the output needs these columns, or all."""
        return self

    def texts(self) -> pa.Array:
        """Return the bytes of each record."""
        count = len(self)
        offsets = np.empty(2 * count + 1, np.int32)
        offsets[:-1:2], offsets[1::2], offsets[-1] = self.starts, self.stops, len(self.data)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        between = pa.Array.from_buffers(pa.binary(), 2 * count, buffers)
        return between.take(from_numpy(np.arange(0, 2 * count, 2), pa.int32()))

    def texts_behind(self, newline: bytes) -> pa.Array | None:
        """Return the bytes of each record with the line break of the one before it.

        That copies nothing. Return None unless each record has this line break, and the next one
        follows.
        """
        gaps = self.starts[1:] - self.stops[:-1]
        if not len(self) or self.starts[0] or (gaps != len(newline)).any():
            return None
        array = np.frombuffer(self.data, np.uint8)
        for place, byte in enumerate(newline):
            if (array[self.stops[:-1] + place] != byte).any():
                return None
        offsets = np.concatenate([self.starts[:1], self.stops])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers)

    def joined(self) -> Any:
        """Return a buffer with the records, each with a line break, and at most blank lines."""
        if self.is_whole:
            return self.data
        lines = pc.binary_join_element_wise(self.texts(), scalar(b"\n"), scalar(b""))
        first, last = np.frombuffer(lines.buffers()[1], np.int32)[[0, len(lines)]].tolist()
        return lines.buffers()[2].slice(first, last - first)
