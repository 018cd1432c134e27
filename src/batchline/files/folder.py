"""An output folder: numbered files, and `_SUCCESS` once all of them are complete."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import pyarrow as pa

from batchline.constants import FOLDER_FILE_BYTES
from batchline.errors import NotWritten
from batchline.files.blocks import Kept
from batchline.files.locations import filesystem_of
from batchline.files.outputs import not_written
from batchline.files.sink import Encoded, Sink

SUCCESS = "_SUCCESS"

OpenPart = Callable[[str], Sink]
"""Opens the file of a path."""


class FolderSink:
    """A folder of files. Each appears whole, and a new one is begun when it is large.

    Leaving its `with` block without `commit` removes the files.
    """

    def __init__(self, folder: str, ending: str, open_part: OpenPart) -> None:
        self.path = folder.rstrip("/")
        self.rows = 0
        self._ending = ending
        self._open_part = open_part
        self._filesystem, self._folder = filesystem_of(self.path)
        self._made: list[str] = []
        self._is_open = True
        try:
            self._prepare()
        except OSError as error:
            raise not_written(self.path, error) from error
        self._sink = self.part(0)

    def part(self, number: int) -> Sink:
        """Open one file of the folder. Its number belongs to one writer only.

        The caller commits it, and counts its rows towards those of `commit`.
        """
        name = f"part-{number:05}{self._ending}"
        self._made.append(name)
        return self._open_part(f"{self.path}/{name}")

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        return self._sink.encode(kept, new)

    def write(self, encoded: Encoded) -> None:
        if self._sink.bytes >= FOLDER_FILE_BYTES:
            self._sink.commit(self._sink.rows)
            self._sink = self.part(len(self._made))
        self._sink.write(encoded)
        self.rows += encoded.rows

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
        """Remove all files that were written."""
        if not self._is_open:
            return
        self._is_open = False
        self._sink.abort()
        for name in self._made:
            if self._filesystem.exists(f"{self._folder}/{name}"):
                self._filesystem.rm(f"{self._folder}/{name}")

    def _prepare(self) -> None:
        self._filesystem.makedirs(self._folder, exist_ok=True)
        if found := self._filesystem.ls(self._folder, detail=False):
            raise NotWritten(
                f"the folder {self.path} is not empty: it has {found[0].rpartition('/')[2]}",
                hint="give the name of a folder that is empty or does not exist",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
