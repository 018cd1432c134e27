"""Where files are: paths, folders, patterns and URLs become files that can be opened."""

import glob
import os
import shlex
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from batchline import redaction
from batchline.file_errors import FileError, FileUnreadable, NoFileFound
from batchline.files.options import STANDARD_STREAM, input_name


@dataclass(frozen=True, slots=True)
class Location:
    """A file that exists.

    Args:
        path: its path or URL, as messages name it.
        size: in bytes, or None if only reading shows it.
        stamp: a text that changes when the file does, or "" if nothing shows that.
    """

    path: str
    size: int | None = None
    stamp: str = ""

    @property
    def name(self) -> str:
        """Its path, or words for standard input."""
        return input_name(self.path)

    @property
    def reopens(self) -> bool:
        """Whether it can be read more than once, unlike standard input or a pipe."""
        return self.size is not None

    def open(self) -> BinaryIO:
        """Open it for reading.

        Raises:
            FileUnreadable: it cannot be opened.
        """
        try:
            if self.path == STANDARD_STREAM:
                return sys.stdin.buffer
            if is_url(self.path):
                filesystem, path = filesystem_of(self.path)
                return cast(BinaryIO, filesystem.open(path, "rb"))
            return Path(self.path).open("rb", buffering=0)
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            raise unreadable(self.path, error) from error

    def is_unchanged(self) -> bool:
        """Whether it is still the file that was found."""
        return not self.reopens or _at(self.path).stamp == self.stamp


def is_url(path: str) -> bool:
    return "://" in path


def is_local(url: str) -> bool:
    """Whether a URL names a path of this machine."""
    return url.startswith(("file://", "local://"))


def find_files(paths: Sequence[str]) -> list[Location]:
    """Return the files of these paths: in the order of `paths`, and by name within each.

    A path is a file, a folder, a pattern with *, ?, [ or **, a URL of these, or - for standard
    input. Files whose name starts with a dot or an underscore do not belong to a folder.

    Raises:
        NoFileFound: a path leads to no file.
        FileUnreadable: a path cannot be read.
    """
    return [location for path in paths for location in _find(path)]


def _find(path: str) -> list[Location]:
    if path == STANDARD_STREAM:
        return [Location(path)]
    try:
        found = [_at(each) for each in (_url_files(path) if is_url(path) else _local_files(path))]
    except FileError:
        raise
    except FileNotFoundError as error:
        raise _not_found(path) from error
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        raise unreadable(path, error) from error
    if not found:
        raise NoFileFound(
            f"no file matches {input_name(path)}",
            hint="correct the path or the pattern, which must lead to one file at least",
        )
    return found


def _local_files(path: str) -> list[str]:
    if Path(path).is_dir():
        return sorted(_visible(path, (str(Path(f, n)) for f, _, ns in os.walk(path) for n in ns)))
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    return sorted(each for each in glob.glob(path, recursive=True) if Path(each).is_file())


def _url_files(url: str) -> list[str]:
    filesystem, path = filesystem_of(url)
    if filesystem.isdir(path):
        found = list(_visible(path, filesystem.find(path)))
    elif filesystem.exists(path) or not glob.has_magic(path):
        return [url]
    else:
        found = [each for each in filesystem.glob(path) if not filesystem.isdir(each)]
    return [filesystem.unstrip_protocol(each) for each in sorted(found)]


def _visible(folder: str, files: Iterator[str]) -> Iterator[str]:
    for file in files:
        inside = file.removeprefix(folder).replace(os.sep, "/").split("/")
        if not any(name.startswith((".", "_")) for name in inside):
            yield file


def _at(path: str) -> Location:
    if is_url(path):
        filesystem, inner = filesystem_of(path)
        info = filesystem.info(inner)
        marks = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag", "generation")
        return Location(path, info.get("size"), str([info.get(mark) for mark in marks]))
    try:
        found = Path(path).stat()
    except FileNotFoundError as error:
        raise _not_found(path) from error
    if not stat.S_ISREG(found.st_mode):
        return Location(path)
    # Nodes that share a filesystem may number its device differently, so st_dev is left out.
    stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
    return Location(path, found.st_size, stamp)


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return fsspec's filesystem for a URL, or else pyarrow's, and the path in it.

    A path without a scheme is one of the local filesystem.
    """
    import fsspec

    try:
        return cast(tuple[Any, str], fsspec.core.url_to_fs(url))
    except (ImportError, ValueError) as error:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow import fs

        try:
            filesystem, path = fs.FileSystem.from_uri(url)
        except Exception:
            raise error from None
        return ArrowFSWrapper(filesystem), path


def _not_found(path: str) -> NoFileFound:
    folder = next(each for each in Path(path).absolute().parents if each.is_dir())
    hint = f"correct the path: `ls {shlex.quote(str(folder))}` lists what is there"
    hint = "correct the URL" if is_url(path) else hint
    return NoFileFound(f"the file {input_name(path)} does not exist", hint=hint)


def unreadable(path: str, error: Exception) -> FileUnreadable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    said = redaction.without(str(reason), path) or type(error).__name__
    return FileUnreadable(f"{input_name(path)} cannot be read: {said}")
