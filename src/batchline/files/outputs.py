"""Where an output goes: a file that appears whole and at once, or standard output."""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from batchline.errors import NotWritten
from batchline.files.locations import filesystem_of, is_url
from batchline.files.options import STANDARD_STREAM

WRITE_BYTES = 1024 * 1024


class Output(Protocol):
    """Bytes that become visible on `commit`, or never."""

    def write(self, data: Any) -> int: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


def open_output(path: str) -> Output:
    """Open an output.

    Raises:
        NotWritten: its folder does not exist or may not be written to.
    """
    try:
        if path == STANDARD_STREAM:
            return StraightOutput(sys.stdout.buffer)
        if is_url(path):
            return RemoteOutput(path)
        if os.path.lexists(path) and not stat.S_ISREG(Path(path).stat().st_mode):
            return StraightOutput(Path(path).open("wb"))  # a pipe or a device
        return LocalOutput(path)
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        raise not_written(path, error) from error


class StraightOutput:
    """Standard output, a pipe or a device: what is written cannot be taken back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def commit(self) -> None:
        self._file.flush()
        self.abort()

    def abort(self) -> None:
        if self._file is not sys.stdout.buffer:
            self._file.close()


class LocalOutput:
    """A file that is written under another name in the same folder, and then renamed."""

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.realpath(path))
        self._beside = self._path.with_name(temporary_name(self._path.name))
        mode = stat.S_IMODE(self._path.stat().st_mode) if self._path.exists() else None
        self._file = self._beside.open("xb", buffering=WRITE_BYTES)
        if mode is not None:
            self._beside.chmod(mode)

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def commit(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._beside.replace(self._path)
        sync_folder(self._path.parent)

    def abort(self) -> None:
        with suppress(OSError):  # the disk is full: the rest cannot be flushed, and is not wanted
            self._file.close()
        self._beside.unlink(missing_ok=True)


class RemoteOutput:
    """A file on another filesystem, written under another name and then moved."""

    def __init__(self, url: str) -> None:
        self._filesystem, self._path = filesystem_of(url)
        folder, slash, name = self._path.rpartition("/")
        self._beside = folder + slash + temporary_name(name)
        self._file = self._filesystem.open(self._beside, "wb")

    def write(self, data: Any) -> int:
        return int(self._file.write(data))

    def commit(self) -> None:
        self._file.close()
        self._filesystem.mv(self._beside, self._path)

    def abort(self) -> None:
        self._file.close()
        if self._filesystem.exists(self._beside):
            self._filesystem.rm(self._beside)


def temporary_name(name: str) -> str:
    """Return a name that readers of the folder skip."""
    return f".{name[:200]}.{os.urandom(4).hex()}.tmp"


def sync_folder(folder: Path) -> None:
    """Make sure that a rename in the folder survives a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def not_written(path: str, error: Exception) -> NotWritten:
    name = "standard output" if path == STANDARD_STREAM else path
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return NotWritten(f"{name} cannot be written: {reason or type(error).__name__}")
