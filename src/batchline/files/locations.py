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
    input. Names that start with a dot or an underscore do not belong to a folder. A folder and its
    links count once.

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
        return sorted(_files_below(path))
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    once: dict[str, str] = {}  # ** follows links to folders, too
    for each in sorted(glob.glob(path, recursive=True)):
        if Path(each).is_file():
            folder, name = os.path.split(each)
            once.setdefault(str(Path(os.path.realpath(folder), name)), each)
    return list(once.values())


def _files_below(folder: str) -> Iterator[str]:
    """Return the files of a folder and of the folders in it, also of links to folders.

    Each folder counts once, by its own name if it has one there.
    """
    seen: set[str] = set()
    tops = [folder]
    for top in tops:  # the links to folders are added to them
        for inside, folders, names in os.walk(top, onerror=_stop):
            if (real := os.path.realpath(inside)) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(filter(_is_visible, folders))
            tops += [str(link) for each in folders if (link := Path(inside, each)).is_symlink()]
            yield from (str(Path(inside, name)) for name in filter(_is_visible, names))


def _stop(error: OSError) -> None:
    raise unreadable(str(error.filename), error) from error


def _url_files(url: str) -> list[str]:
    filesystem, path = filesystem_of(url)
    if is_local(url):
        found = _local_files(path)
    elif filesystem.isdir(path):
        found = sorted(
            each
            for each in filesystem.find(path)
            if all(map(_is_visible, each.removeprefix(path).split("/")))
        )
    elif filesystem.exists(path) or not glob.has_magic(path):
        found = [path]
    else:
        found = sorted(each for each in filesystem.glob(path) if not filesystem.isdir(each))
    return [url] if found == [path] else [filesystem.unstrip_protocol(each) for each in found]


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "_"))


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
