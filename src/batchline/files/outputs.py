"""Where an output goes: a file that appears whole and at once, or standard output."""

import os
import shlex
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES, ENOENT
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from batchline.file_errors import NotWritten
from batchline.files.locations import filesystem_of, is_local, is_url
from batchline.files.options import STANDARD_STREAM, input_name, is_folder, output_name

WRITE_BYTES = 1024 * 1024
WORK_FOLDER = ".batchline"
"""The ending of the name of a work folder, and its name in an output folder."""
STDIN, STDOUT = 0, 1
"""File descriptors."""
UNFINISHED = "rows"
"""The name of the unfinished file in its work folder."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an output is complete and safe from a power cut.

    Args:
        rows: of the whole output.
        files: the complete files of a folder.
        offset: the size of the file, or of the unfinished file of a folder.
        text: the bytes of that file before they were compressed.
        content: its size as `Sink.bytes` counts it.
    """

    rows: int = 0
    files: int = 0
    offset: int = 0
    text: int = 0
    content: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A folder that keeps the unfinished rows of an output, and how many of them to continue."""

    folder: Path
    mark: Mark = Mark()


def work_folder(path: str) -> Path | None:
    """Return the hidden folder in which the unfinished rows of an output are kept.

    Return None if an output cannot be continued: it is not on this machine, or is a stream.
    """
    if path == STANDARD_STREAM or is_url(path):
        return None
    real = Path(os.path.realpath(path))
    if is_folder(path):
        return real / WORK_FOLDER
    if real.exists() and not real.is_file():
        return None
    return real.with_name(f".{real.name[:200]}{WORK_FOLDER}")


class Output(Protocol):
    """Bytes that become visible on `commit`, or never."""

    def write(self, data: Any) -> int: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


def open_output(path: str, work: Work | None = None) -> Output:
    """Open an output.

    Args:
        work: keeps the unfinished file if the output is aborted. None: the file is removed.

    Raises:
        NotWritten: its folder does not exist or may not be written to.
    """
    try:
        if work is not None:
            return KeptOutput(path, work)
        if path == STANDARD_STREAM:
            return StraightOutput(sys.stdout.buffer)
        if is_url(path):
            return RemoteOutput(path)
        if os.path.lexists(path) and not stat.S_ISREG(Path(path).stat().st_mode):
            return StraightOutput(Path(path).open("wb"))  # a pipe or a device
        return LocalOutput(path)
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        raise not_written(path, error) from error


def check_place(path: str) -> None:
    """Check that an output on this machine can be written, and write nothing.

    Raises:
        NotWritten: its folder does not exist or may not be written to.
    """
    if path == STANDARD_STREAM or is_url(path):
        return
    real = Path(os.path.realpath(path))
    folder = real.parent
    if is_folder(path):  # a folder is created, with those above it
        folder = next(each for each in (real, *real.parents) if each.exists())
    if not folder.is_dir():
        error = not_written(path, OSError(ENOENT, os.strerror(ENOENT)))
        if not folder.exists():
            error.hint = f"create the folder: `mkdir -p {shlex.quote(str(folder))}`"
        raise error
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise not_written(path, OSError(EACCES, os.strerror(EACCES)))


def check_is_no_input(path: str, inputs: Sequence[str]) -> None:
    """Check that an output is none of its inputs under another name, and does not contain one.

    Raises:
        NotWritten: it would replace a file of the user that is no output.
    """
    output = _place(path)
    for each in inputs:
        given = _place(each)
        if is_folder(path) and _contains(output, given):
            raise NotWritten(
                f"the output folder {output_name(path)} contains the input {input_name(each)}",
                hint="give a folder of its own",
            )
        if output == given != STANDARD_STREAM or _are_one_file(output, given):
            raise NotWritten(
                f"the output {output_name(path)} is the input {input_name(each)}",
                hint="write another file, and rename it once it is complete",
            )


def _place(path: str) -> str:
    """Return the path of a URL of this machine, or the one name of a file that has several URLs."""
    if not is_url(path):
        return path
    last = path.rpartition("::")[2]  # of a chain, such as zip://in.csv::file:///all.zip
    try:
        filesystem, inner = filesystem_of(last)
        return inner if is_local(last) else str(filesystem.unstrip_protocol(inner))
    except Exception:  # each of fsspec's filesystems has errors of its own, which opening it shows
        return path


def _contains(folder: str, path: str) -> bool:
    if is_url(folder) or is_url(path):
        return path.startswith(folder.rstrip("/") + "/")
    return (
        path != STANDARD_STREAM
        and Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
    )


def _are_one_file(output: str, given: str) -> bool:
    """Whether two names lead to one file, by a link or as a standard stream."""
    try:
        there = os.fstat(STDOUT) if output == STANDARD_STREAM else Path(output).stat()
        here = os.fstat(STDIN) if given == STANDARD_STREAM else Path(given).stat()
    except (OSError, ValueError):
        return False  # there is no such file yet, or it is a URL
    return stat.S_ISREG(there.st_mode) and os.path.samestat(there, here)


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


class KeptOutput:
    """A file that is written in a work folder, from where it can be continued, and then renamed."""

    def __init__(self, path: str, work: Work) -> None:
        self._path = Path(os.path.realpath(path))
        self._unfinished = work.folder / UNFINISHED
        self._open("r+b" if work.mark.offset else "wb")

    def _open(self, mode: str) -> None:
        self._file = cast(BinaryIO, self._unfinished.open(mode, buffering=WRITE_BYTES))
        if self._path.exists():
            self._unfinished.chmod(stat.S_IMODE(self._path.stat().st_mode))

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def keep(self, offset: int) -> BinaryIO:
        """Continue at this position, and return what was written before, for reading."""
        self._file.truncate(offset)
        self._file.seek(offset)
        return self._unfinished.open("rb")

    @contextmanager
    def replaced(self) -> Iterator[BinaryIO]:
        """Write anew what was written, which is yielded. Until the end, the old file stays."""
        self._file.close()
        kept = self._unfinished
        self._unfinished = kept.with_name(f"{kept.name}.new")
        self._open("wb")
        with kept.open("rb") as written:
            yield written
        self.sync()
        self._unfinished = self._unfinished.replace(kept)

    def sync(self) -> int:
        """Make what was written safe from a power cut, and return its size."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def commit(self) -> None:
        self.sync()
        self._file.close()
        self._unfinished.replace(self._path)
        sync_folder(self._path.parent)

    def abort(self) -> None:
        with suppress(OSError):  # the disk is full: the rest cannot be flushed, and is not wanted
            self._file.close()


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
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return NotWritten(f"{output_name(path)} cannot be written: {reason or type(error).__name__}")
