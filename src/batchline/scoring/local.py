"""Predict all rows of a source on this machine, in the order of the input.

The main thread cuts the input into parts and writes. Each worker thread reads, predicts and encodes
a whole part. It runs ahead by a few blocks at most, which bounds the memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue

from batchline.errors import RunStopped
from batchline.files.blocks import Block, RowError
from batchline.files.folder import FolderSink
from batchline.files.sink import Encoded, Sink
from batchline.files.source import Part, Source
from batchline.scoring.scorer import Scorer
from batchline.scoring.summary import ErrorLimit, Summary

BLOCKS_AHEAD = 2
POLL_SECONDS = 0.1

OnProgress = Callable[[Summary, Part], None]


@dataclass(frozen=True, slots=True)
class _Done:
    """A block in the format of the output."""

    encoded: Encoded
    blank_lines: int
    errors: Sequence[RowError]


_Results = Queue[_Done | BaseException | None]


class LocalEngine:
    """One run over a source.

    Args:
        keep: the columns that the output keeps, or None for all.
        on_progress: called after each block that was written.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink | FolderSink,
        scorer: Scorer,
        *,
        threads: int,
        keep: Sequence[str] | None = None,
        limit: ErrorLimit | None = None,
        on_progress: OnProgress = lambda summary, part: None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._scorer = scorer
        self._threads = threads
        self._keep = keep
        self._limit = limit or ErrorLimit()
        self._on_progress = on_progress
        self._stop = threading.Event()
        self.summary = Summary()

    def run(self) -> Summary:
        """Predict all rows and complete the output.

        Raises:
            TooManyErrors: more rows have errors than are allowed.
            FileError: the input cannot be read to its end, or the output cannot be written.
        """
        waiting: deque[tuple[Part, _Results]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="predict") as pool:
            try:
                for part in self._source.parts():
                    results: _Results = Queue(BLOCKS_AHEAD)
                    pool.submit(self._predict_part, part, results)
                    waiting.append((part, results))
                    if len(waiting) > self._threads:
                        self._write(*waiting.popleft())
                while waiting:
                    self._write(*waiting.popleft())
            finally:
                self._stop.set()
        self.summary.check(self._limit, at_end=True)
        if not self._source.is_read or self.summary.rows != self._source.rows:
            raise RunStopped(
                f"the input has {self._source.rows} rows, but {self.summary.rows} were predicted",
                hint="this is an error in Batchline; please report it with the command",
            )
        self._sink.commit(self._source.rows)
        return self.summary

    def _predict_part(self, part: Part, results: _Results) -> None:
        try:
            for block in part.blocks(self._scorer.kinds, self._keep):
                self._put(results, self._predict_block(block, part))
            self._put(results, None)
        except _Stopped:
            pass
        except BaseException as error:
            self._put(results, error)

    def _predict_block(self, block: Block, part: Part) -> _Done:
        scored = self._scorer.score(block, part)
        encoded = self._sink.encode(block.kept, scored.arrays)
        errors = [scored.errors[place] for place in sorted(scored.errors)]
        return _Done(encoded, block.blank_lines, errors)

    def _put(self, results: _Results, value: _Done | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                results.put(value, timeout=POLL_SECONDS)
            except Full:
                continue
            return
        raise _Stopped

    def _write(self, part: Part, results: _Results) -> None:
        for done in _taken(results):
            self._sink.write(done.encoded)
            self.summary.add(done.encoded.rows, done.blank_lines, done.errors)
            self.summary.check(self._limit)
            self._on_progress(self.summary, part)


class _Stopped(Exception):
    """The run ended before this part was written."""


def _taken(results: _Results) -> Iterator[_Done]:
    while (found := results.get()) is not None:
        if isinstance(found, BaseException):
            raise found
        yield found
