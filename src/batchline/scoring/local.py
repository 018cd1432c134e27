"""Predict all rows of a source on this machine, in the order of the input.

The main thread cuts the input into parts and writes. Each worker thread reads, predicts and encodes
a whole part. It runs ahead by a few blocks at most, which bounds the memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from batchline.file_errors import RunStopped
from batchline.files.blocks import Kept, RowError
from batchline.files.folder import FolderSink
from batchline.files.sink import Encoded, Sink
from batchline.files.source import Part, Source
from batchline.scoring.error_limit import ErrorLimit
from batchline.scoring.journal import Journal
from batchline.scoring.scorer import Scorer
from batchline.scoring.summary import Summary
from batchline.scoring.watched import Watch

BLOCKS_AHEAD = 2
POLL_SECONDS = 0.1
ERROR_IN_BATCHLINE = "this is an error in Batchline; please report it with the command"

if TYPE_CHECKING:
    from batchline.scoring.only_errors import MergingSink, PairedSource


class Encodes(Protocol):
    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded: ...


OnProgress = Callable[[Summary, Part], None]


@dataclass(frozen=True, slots=True)
class Done:
    """A block in the format of the output. Its errors are counted, for each takes memory."""

    encoded: Encoded
    first_row: int
    outcome: Summary


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a part."""

    digest: str


_Results = Queue[Done | _End | BaseException]


class LocalEngine:
    """One run over a source.

    Args:
        keep: the columns that the output keeps, or None for all.
        on_progress: called after each block that was written.
        journal: of the finished parts, which are not predicted again.
        watch: is told which blocks are given to the scorer's model.
    """

    def __init__(
        self,
        source: "Source | PairedSource",
        sink: "Sink | FolderSink | MergingSink",
        scorer: Scorer,
        *,
        threads: int,
        keep: Sequence[str] | None = None,
        limit: ErrorLimit | None = None,
        on_progress: OnProgress = lambda summary, part: None,
        journal: Journal | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._scorer = scorer
        self._threads = threads
        self._keep = keep
        self._limit = limit or ErrorLimit()
        self._on_progress = on_progress
        self._journal = journal
        self._watch = watch
        self._stop = threading.Event()
        self.summary = Summary.of_state(journal.saved.summary if journal else None)

    def run(self) -> Summary:
        """Predict all rows and complete the output.

        Raises:
            TooManyErrors: more rows have errors than are allowed.
            FileError: the input cannot be read to its end, or the output cannot be written.
        """
        waiting: deque[tuple[Part, _Results]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="predict") as pool:
            try:
                for number, part in self._unfinished():
                    results: _Results = Queue(BLOCKS_AHEAD)
                    pool.submit(self._predict_part, number, part, results)
                    waiting.append((part, results))
                    if len(waiting) > self._threads:
                        self._write(*waiting.popleft())
                while waiting:
                    self._write(*waiting.popleft())
            finally:
                self._end_parts()
        self.summary.check(self._limit, at_end=True)
        if not self._source.is_read or self.summary.rows != self._source.rows:
            raise RunStopped(
                f"the input has {self._source.rows} rows, but {self.summary.rows} were predicted",
                hint=ERROR_IN_BATCHLINE,
            )
        self._sink.commit(self._source.rows)
        return self.summary

    def _end_parts(self) -> None:
        """End the work on parts that will not be written."""
        self._stop.set()

    def _unfinished(self) -> Iterator[tuple[int, Part]]:
        """Return the parts that are to be predicted, with their numbers."""
        if self._watch:
            self._watch.begin(self._journal.saved.parts if self._journal else 0)
        parts = self._source.parts()
        return self._journal.unfinished(parts) if self._journal else enumerate(parts)

    def _predict_part(self, number: int, part: Part, results: _Results) -> None:
        try:
            digest = part.digest() if self._journal else ""
            for done in self._predicted(number, part):
                self._put(results, done)
            self._put(results, _End(digest))
        except _Stopped:
            pass
        except BaseException as error:
            self._put(results, error)

    def _predicted(self, number: int, part: Part) -> Iterator[Done]:
        """Predict and encode the blocks of a part."""
        return predict_part(number, part, self._scorer, self._sink, self._keep, self._watch)

    def _put(self, results: _Results, value: Done | _End | BaseException) -> None:
        while not self._stop.is_set():
            try:
                results.put(value, timeout=POLL_SECONDS)
            except Full:
                continue
            return
        raise _Stopped

    def _write(self, part: Part, results: _Results) -> None:
        row = part.first_row
        while not isinstance(found := _taken(results), _End):
            _check_row(part, found.first_row, row)
            row += found.encoded.rows
            self._sink.write(found.encoded)
            self.summary.include(found.outcome)
            self.summary.check(self._limit)
            self._on_progress(self.summary, part)
        _check_row(part, part.first_row + part.rows, row)
        if self._journal:
            self._journal.finish(part.rows, found.digest, self._sink.mark, self.summary.state)


def predict_part(
    number: int,
    part: Part,
    scorer: Scorer,
    encoder: Encodes,
    keep: Sequence[str] | None,
    watch: Watch | None,
) -> Iterator[Done]:
    """Read, predict and encode the blocks of a part."""
    for place, block in enumerate(part.blocks(scorer.kinds, keep)):
        if watch:
            watch.enter(number, place)
        scored = scorer.score(block, part)
        encoded = encoder.encode(block.kept, scored.arrays)
        outcome = Summary()
        outcome.add(block.rows, block.blank_lines, _in_order(scored.errors))
        yield Done(encoded, block.first_row, outcome)


class _Stopped(Exception):
    """The run ended before this part was written."""


def _in_order(errors: Mapping[int, RowError]) -> Iterator[RowError]:
    return (errors[place] for place in sorted(errors))


def _taken(results: _Results) -> Done | _End:
    found = results.get()
    if isinstance(found, BaseException):
        raise found
    return found


def _check_row(part: Part, found: int, expected: int) -> None:
    """Check that each row of a part follows the one before it.

    Raises:
        RunStopped: a row is missing or comes twice.
    """
    if found != expected:
        raise RunStopped(
            f"{part.path}: row {found} came instead of row {expected}", hint=ERROR_IN_BATCHLINE
        )
