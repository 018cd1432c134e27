"""The output of an earlier run: its rows as they are, their features, and which of them failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from batchline.file_errors import RunChanged
from batchline.files.arrays import validity
from batchline.files.blocks import Block, Mask
from batchline.files.kinds import Kind
from batchline.files.source import Part, Source
from batchline.files.table_rows import TableRows

ROW = "row"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Rows of an earlier output.

    Args:
        rows: the columns of a Parquet file, or one column with the bytes of each record.
        features: the features of the model that the output has, as far as they can be read.
        readable: in which rows they can.
        failed: which rows had an error.
    """

    rows: pa.Table
    features: pa.Table
    readable: Mask
    failed: Mask

    @classmethod
    def of(cls, block: Block, features: Block, error: str) -> Self:
        kept: Any = block.kept
        parquet = isinstance(kept, TableRows)
        batch = kept.batch if parquet else pa.record_batch([kept.texts()], [ROW])
        # A row that cannot be read as a whole has null in all columns.
        failed = validity(block.features[error]) | ~block.good
        return cls(
            pa.Table.from_batches([batch]), pa.table(features.features), features.good, failed
        )

    def __len__(self) -> int:
        return len(self.failed)

    def slice(self, first: int, stop: int) -> "Earlier":
        rows, features = (each.slice(first, stop - first) for each in (self.rows, self.features))
        return Earlier(rows, features, self.readable[first:stop], self.failed[first:stop])


@dataclass(frozen=True, slots=True)
class Range:
    """Rows of a part."""

    part: Part
    first: int
    rows: int


class EarlierOutput:
    """An earlier output, from which the ranges of the parts of the input are taken in order.

    Args:
        kinds: the features of the model.
        error: the name of the column with the errors.
    """

    def __init__(self, source: Source, kinds: Mapping[str, Kind], error: str) -> None:
        first = source.files[0]
        self._features = {n: kind for n, kind in kinds.items() if not first.check({n: kind})}
        self._error = error
        self._source = source
        self._parts = source.parts()
        self._left: Range | None = None

    def take(self, rows: int) -> list[Range]:
        """Return the ranges of the next rows.

        Raises:
            RunChanged: there are not that many.
        """
        found = []
        while rows:
            each = self._left or self._next()
            if each is None:
                raise RunChanged(
                    f"the earlier output has {self._source.rows} rows, and the input has more",
                    hint="give the input of the earlier run, with corrected rows in their places",
                )
            taken = min(rows, each.rows)
            found.append(replace(each, rows=taken))
            rest = each.rows - taken
            self._left = replace(each, first=each.first + taken, rows=rest) if rest else None
            rows -= taken
        return found

    def check_end(self, rows: int) -> None:
        """Check that no row is left.

        Raises:
            RunChanged: the input ended after `rows` rows, and the earlier output did not.
        """
        if self._left or self._next():
            raise RunChanged(
                f"the input has {rows} rows, and the earlier output has more",
                hint="give the input of the earlier run, with corrected rows in their places",
            )

    def _next(self) -> Range | None:
        part = next((part for part in self._parts if part.rows), None)
        return Range(part, 0, part.rows) if part else None

    def read(self, ranges: Sequence[Range]) -> Iterator[Earlier]:
        """Return the rows of ranges, block by block. Threads may call it at the same time."""
        for each in ranges:
            first = 0
            blocks = each.part.blocks({self._error: Kind("str")})
            # Features are read apart: a row whose features cannot be read may have no error.
            for block, features in zip(blocks, each.part.blocks(self._features), strict=True):
                low, high = max(each.first, first), min(each.first + each.rows, first + block.rows)
                if low < high:
                    earlier = Earlier.of(block, features, self._error)
                    yield earlier.slice(low - first, high - first)
                first += block.rows


def take_rows(blocks: Iterator[Earlier], left: list[Earlier], count: int) -> Earlier:
    """Return the next `count` rows, and keep the rest of their last block in `left`."""
    found, rows = list(left), sum(map(len, left))
    while rows < count:
        found.append(next(blocks))
        rows += len(found[-1])
    if len(found) == 1:
        whole = found[0]
    else:
        whole = Earlier(
            pa.concat_tables([each.rows for each in found]),
            pa.concat_tables([each.features for each in found]),
            np.concatenate([each.readable for each in found]),
            np.concatenate([each.failed for each in found]),
        )
    left[:] = [whole.slice(count, rows)] if rows > count else []
    return whole.slice(0, count)
