"""Refuse files whose content may never end or never come, before anything reads them."""

import errno
import stat
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def regular(path: Path) -> Path:
    """Return the path of a file that is safe to read.

    A pipe would wait for somebody who writes to it, and a device may never end.

    Raises:
        OSError: it does not exist, or is not a regular file. Its `strerror` says what it is.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        what = KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"it is {what} and not a regular file", str(path))
    return path
