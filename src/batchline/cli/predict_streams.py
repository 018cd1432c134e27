"""Inputs and outputs that no second process could read or write again."""

import os
import stat
from collections.abc import Sequence

STREAM = "-"


def why_once(sources: Sequence[str], output: str) -> str:
    """Return why no second process could make the run, or "" if one could."""
    if any(is_stream(source) for source in sources):
        return "standard input cannot be read a second time"
    if is_stream(output):
        return "the rows in standard output cannot be taken back"
    return ""


def is_stream(path: str) -> bool:
    if path == STREAM:
        return True
    return os.path.exists(path) and not stat.S_IFMT(os.stat(path).st_mode) & (  # noqa: PTH110, PTH116
        stat.S_IFREG | stat.S_IFDIR
    )
