"""Predict only the rows that failed in an earlier run, and merge them into its output.

A row of the input and a row of the earlier output belong together if they have the same number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchline.file_errors import InvalidColumns, RunChanged
from batchline.files.arrays import from_numpy, scalar, single
from batchline.files.blocks import Block, Kept, Mask, RowError
from batchline.files.csv_writer import whole_text
from batchline.files.folder import FolderSink
from batchline.files.kinds import Kind
from batchline.files.options import Format, ReadOptions, WriteOptions
from batchline.files.outputs import Mark
from batchline.files.sink import Encoded, Sink
from batchline.files.source import Part, Source, open_source
from batchline.scoring.columns import ADDED, ERROR, Added
from batchline.scoring.earlier import ROW, Earlier, EarlierOutput, Range, take_rows
from batchline.scoring.scorer import Origin, Scored, Scorer

SAME_OPTIONS = "give the output of an earlier run with the same options, and with --error-column"
SUCCEEDED = RowError("succeeded", "the row succeeded in the earlier run", "", 0)


@dataclass(frozen=True, slots=True)
class Paired:
    """Kept rows of the input, and the same rows of the earlier output."""

    now: Kept
    earlier: Earlier

    def __len__(self) -> int:
        return len(self.now)

    def select(self, rows: Mask) -> "Paired":
        raise NotImplementedError

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        return self.now.table(schema)


@dataclass(frozen=True, slots=True)
class PairedPart:
    """A part of the input, with the ranges of the earlier output that have the same rows."""

    part: Part
    ranges: Sequence[Range]
    output: EarlierOutput

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def digest(self) -> str:
        parts = [self.part, *(each.part for each in self.ranges)]
        return sha256("".join(part.digest() for part in parts).encode()).hexdigest()

    def blocks(
        self, features: Mapping[str, Kind], keep: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """Read the rows. Those that succeeded before are marked as rows with an error.

        Raises:
            RunChanged: a row that succeeded has other features now.
        """
        blocks, left = self.output.read(self.ranges), list[Earlier]()
        for block in self.part.blocks(features, keep):
            earlier = take_rows(blocks, left, block.rows)
            _check_features(block, earlier, self.part)
            done = np.flatnonzero(~earlier.failed).tolist()
            errors = {**block.errors, **dict.fromkeys(done, SUCCEEDED)}
            yield replace(block, kept=Paired(block.kept, earlier), errors=errors)


def _check_features(block: Block, earlier: Earlier, part: Part) -> None:
    """Check that the rows that succeeded are still the same, as far as that can be seen."""
    compared = ~earlier.failed & earlier.readable
    rows = from_numpy(compared, pa.bool_())
    for name in earlier.features.column_names:
        before, now = single(earlier.features[name]).filter(rows), block.features[name].filter(rows)
        if not before.equals(now):
            places = np.flatnonzero(compared).tolist()
            changed = (p for p, a, b in zip(places, before, now, strict=True) if not a.equals(b))
            raise RunChanged(
                f"{part.path}, row {block.first_row + next(changed)}: {name!r} has another value "
                "than in the earlier output, where the row succeeded",
                hint="give the input of the earlier run, with corrected rows in their places",
            )


class PairedSource:
    """The input with the rows of an earlier output."""

    def __init__(self, source: Source, output: EarlierOutput) -> None:
        self._source, self._output = source, output

    @property
    def rows(self) -> int:
        return self._source.rows

    @property
    def is_read(self) -> bool:
        return self._source.is_read

    def parts(self) -> Iterator[Any]:
        """Return the parts of the input.

        Raises:
            RunChanged: the earlier output has another number of rows.
        """
        for part in self._source.parts():
            yield PairedPart(part, self._output.take(part.rows), self._output)
        self._output.check_end(self._source.rows)


@dataclass(frozen=True, slots=True)
class FailedRowsScorer(Scorer):
    """A scorer that leaves out the rows that succeeded before."""

    def score(self, block: Block, part: Origin) -> Scored:
        if all(error is SUCCEEDED for error in block.errors.values()) and not block.good.any():
            return Scored([], {})
        scored = Scorer.score(self, block, part)
        errors = {row: e for row, e in scored.errors.items() if e is not SUCCEEDED}
        return Scored(scored.arrays, errors)


class MergingSink:
    """A sink into which the rows that were predicted again are merged with the others.

    Args:
        before: the earlier output. Rows that succeeded keep their bytes, in Parquet their values.
    """

    def __init__(self, sink: Sink | FolderSink, before: Source) -> None:
        self._sink = sink
        self._before: Any = before.files[0]
        self._is_text = before.format is not Format.PARQUET
        self._newline = before.write_options("").newline.encode()

    def encode(self, kept: Any, new: list[pa.Array]) -> Encoded:
        """Return the rows of the earlier output, with those that were predicted again."""
        rows, failed = kept.earlier.rows, kept.earlier.failed
        if failed.any():
            mask = from_numpy(failed, pa.bool_())
            again = self._sink.encode(kept.now.select(failed), [each.filter(mask) for each in new])
            places = np.arange(len(failed))
            places[failed] = len(failed) + np.arange(np.count_nonzero(failed))
            rows = pa.concat_tables([rows, self._table(again.content).cast(rows.schema)])
            rows = rows.take(from_numpy(places, pa.int64()))
        return Encoded(len(failed), self._content(rows))

    def _table(self, content: Any) -> pa.Table:
        if not self._is_text:
            return pa.Table.from_batches([content])
        data = bytes(content)
        records = self._before.records(data, self._before.ends_of(data))
        return pa.table({ROW: records.texts()})

    def _content(self, rows: pa.Table) -> Any:
        if not self._is_text:
            return rows.combine_chunks().to_batches()[0]
        texts = single(rows[ROW])
        lines = pc.binary_join_element_wise(texts, scalar(self._newline), scalar(b""))
        return whole_text(lines)

    def write(self, encoded: Encoded) -> None:
        self._sink.write(encoded)

    def mark(self) -> Mark | None:
        return self._sink.mark()

    def commit(self, rows: int) -> None:
        self._sink.commit(rows)


def paired(
    source: Source, before: Source, sink: Sink | FolderSink, scorer: Scorer
) -> tuple[PairedSource, MergingSink, Scorer]:
    """Return what predicts only the rows that failed before."""
    error = dict(scorer.added.renamed).get(ERROR, ERROR)
    output = EarlierOutput(before, scorer.kinds, error)
    of = FailedRowsScorer(scorer.predictor, scorer.kinds, scorer.added, scorer.name, scorer.version)
    return PairedSource(source, output), MergingSink(sink, before), of


def open_earlier(path: str, source: Source, reading: ReadOptions, written: WriteOptions) -> Source:
    """Open an output of an earlier run.

    Args:
        reading: how the source is read. Only the cells of CSV are in the output as they came.
        written: how a run of the source writes a file of this name.
    """
    cells = reading if source.format is Format.CSV else ReadOptions()
    options = replace(cells, format=written.format, delimiter=written.delimiter, encoding="utf-8")
    return open_source([path], options)


def check_earlier(before: Source, kept: pa.Schema, added: Added) -> None:
    """Check that an earlier output has the columns of the new one.

    Raises:
        InvalidColumns: it has others.
    """
    columns, found = [*kept.names, *added.schema.names], list(before.files[0].columns)
    if ERROR not in added.extra or found != columns:
        raise InvalidColumns(
            f"{before.files[0].location.path} must have the columns {', '.join(columns)}, "
            f"got {', '.join(found)}",
            hint=SAME_OPTIONS,
        )


def check_earlier_keys(
    before: Source, kept: pa.Schema, added: Added, features: Mapping[str, Kind], *, keeps_all: bool
) -> None:
    """Check that lines of an earlier output have the keys of the new one, in any order.

    A line has the keys that it came with, so most may be in some lines only, or may have been
    corrected.

    Raises:
        InvalidColumns: it lacks a feature that is kept or an added key, or has a key that the new
            one cannot have.
    """
    path, found = before.files[0].location.path, {*before.files[0].columns}
    required = [n for n in kept.names if n in features and not features[n].optional]
    needed, new = [*required, *added.schema.names], {*kept.names, *added.schema.names}
    if ERROR not in added.extra or not found.issuperset(needed):
        raise InvalidColumns(
            f"{path} must have the keys {', '.join(needed)}, got "
            + ", ".join(before.files[0].columns),
            hint=SAME_OPTIONS,
        )
    wrong = found - new
    if keeps_all:  # and then the others were in the input
        wrong &= {*added.predicted.names, *ADDED}
    if wrong:
        raise InvalidColumns(
            f"{path} has the key {min(wrong)!r}, which the new output would not have",
            hint=SAME_OPTIONS,
        )


def check_earlier_format(before: Source, options: WriteOptions, output: str) -> None:
    """Check that an earlier output can be merged into the new one.

    Raises:
        InvalidColumns: it has another format or another delimiter.
    """
    path = before.files[0].location.path
    if before.format is not (format_ := options.format_of(output)):
        raise InvalidColumns(
            f"{path} is {before.format}, and the output is {format_}",
            hint=f"give the name of a file in the format {before.format} to -o",
        )
    delimiter = before.write_options("").delimiter
    if delimiter not in (None, new := options.delimiter_of(output)):
        raise InvalidColumns(
            f"{path} has the delimiter {delimiter!r}, and the output has {new!r}",
            hint=f"give a name with the extension of {path} to -o",
        )
