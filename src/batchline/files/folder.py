"""An output folder: numbered files, and `_SUCCESS` once all of them are complete."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from batchline.constants import FOLDER_FILE_BYTES
from batchline.file_errors import NotWritten
from batchline.files.blocks import Kept
from batchline.files.locations import filesystem_of
from batchline.files.outputs import UNFINISHED, WORK_FOLDER, Mark, Work, not_written
from batchline.files.sink import Encoded, Sink

SUCCESS = "_SUCCESS"
START = Mark()

OpenPart = Callable[[str, Work | None], Sink]
"""Opens the file of a path, or continues it."""


class FolderSink:
    """A folder of files. Each appears whole, and a new one is begun when it is large.

    Leaving its `with` block without `commit` removes the files, unless there is a `work` folder.

    Args:
        replaces: whether the folder may have files, which another attempt left.
    """

    def __init__(
        self,
        folder: str,
        ending: str,
        open_part: OpenPart,
        work: Work | None = None,
        *,
        replaces: bool = False,
    ) -> None:
        self.path = folder.rstrip("/")
        self._work = work
        mark = work.mark if work else Mark()
        self.rows = mark.rows
        self._ending = ending
        self._open_part = open_part
        self._filesystem, self._folder = filesystem_of(self.path)
        self._made = [self._name(number) for number in range(mark.files)]
        self._is_open = True
        try:
            self._prepare(replaces=replaces or mark.rows > 0)
        except OSError as error:
            raise not_written(self.path, error) from error
        self._sink = self._next(mark)

    def part(self, number: int) -> Sink:
        """Open one file of the folder. Its number belongs to one writer only.

        The caller commits it, and counts its rows towards those of `commit`.
        """
        return self._open(number, None)

    def _next(self, mark: Mark = START) -> Sink:
        """Begin the next file, or continue it."""
        work = self._work and replace(self._work, mark=mark)
        return self._open(len(self._made), work)

    def _open(self, number: int, work: Work | None) -> Sink:
        name = self._name(number)
        self._made.append(name)
        return self._open_part(f"{self.path}/{name}", work)

    def _name(self, number: int) -> str:
        return f"part-{number:05}{self._ending}"

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        return self._sink.encode(kept, new)

    def write(self, encoded: Encoded) -> None:
        if self._sink.bytes >= FOLDER_FILE_BYTES:
            self._sink.commit(self._sink.rows)
            self._sink = self._next()
        self._sink.write(encoded)
        self.rows += encoded.rows

    def mark(self) -> Mark | None:
        """Make the rows safe from a power cut, and return how far they can be kept."""
        found = self._sink.mark()
        return found and replace(found, rows=self.rows, files=len(self._made) - 1)

    def commit(self, rows: int) -> None:
        """Complete the last file, and mark the folder as complete.

        Raises:
            NotWritten: another number of rows was written, or a file cannot be completed.
        """
        if rows != self.rows:
            raise NotWritten(f"{self.rows} rows of {rows} were written to {self.path}")
        self._sink.commit(self._sink.rows)
        try:
            self._filesystem.touch(f"{self._folder}/{SUCCESS}")
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            raise not_written(self.path, error) from error
        self._is_open = False

    def abort(self) -> None:
        """Remove all files that were written, unless they can be continued."""
        if self._is_open:
            self._is_open = False
            self._sink.abort()
            if self._work is None:
                self.discard()

    def discard(self) -> None:
        """Remove all files that were written."""
        for name in self._made:
            if self._filesystem.exists(f"{self._folder}/{name}"):
                self._filesystem.rm(f"{self._folder}/{name}")

    def _prepare(self, *, replaces: bool) -> None:
        self._filesystem.makedirs(self._folder, exist_ok=True)
        every = (
            path.rpartition("/")[2] for path in self._filesystem.ls(self._folder, detail=False)
        )
        found = sorted(name for name in every if name != WORK_FOLDER)
        if not replaces and found:
            raise NotWritten(
                f"the folder {self.path} is not empty: it has {found[0]}",
                hint="give the name of a folder that is empty or does not exist",
            )
        for name in found:
            if name.startswith("part-") and name not in self._made:
                self._take_back(name)

    def _take_back(self, name: str) -> None:
        """Remove a file that was completed behind the mark, or continue it at the mark."""
        if self._work and self._work.mark.offset and name == self._name(len(self._made)):
            (Path(self._folder) / name).replace(self._work.folder / UNFINISHED)
        else:
            self._filesystem.rm(f"{self._folder}/{name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
