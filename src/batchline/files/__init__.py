"""CSV, JSON Lines and Parquet files on any filesystem, as blocks of rows.

Importing this package imports no pyarrow. `open_source` and `open_sink` do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from batchline.file_errors import FileOptionInvalid
from batchline.files.kinds import Kind
from batchline.files.options import STANDARD_STREAM, Format, ReadOptions, WriteOptions, is_folder

if TYPE_CHECKING:
    import pyarrow as pa

    from batchline.files.folder import FolderSink
    from batchline.files.outputs import Work
    from batchline.files.sink import Encoder, Sink
    from batchline.files.source import Source

__all__ = [
    "STANDARD_STREAM",
    "Format",
    "Kind",
    "ReadOptions",
    "WriteOptions",
    "check_installed",
    "encoder_of",
    "open_sink",
    "open_source",
]


def open_source(paths: Sequence[str], options: ReadOptions | None = None) -> Source:
    """Find files and read their headers or schemas. No row is read.

    Args:
        paths: files, folders, patterns, URLs of these, or - for standard input.

    Raises:
        NoFileFound: a path leads to no file.
        FormatUnknown: the format of a file is unknown, or the files have different ones.
        FileUnreadable: a file cannot be opened, or is not in its format.
    """
    check_installed()
    from batchline.files import source

    return source.open_source(paths, options or ReadOptions())


def open_sink(
    path: str,
    kept: pa.Schema,
    new: pa.Schema,
    options: WriteOptions | None = None,
    work: Work | None = None,
    *,
    replaces: bool = False,
) -> Sink | FolderSink:
    """Open an output file, standard output for -, or a folder.

    Args:
        path: a folder if it ends with a slash or is one. It must be empty.
        kept: the columns of the input that the output has, as `Source.check` returns them.
        new: the columns behind them.
        work: keeps unfinished rows, and says how many of them to continue.
        replaces: whether an output folder may have files, which another attempt left.

    Raises:
        FormatUnknown: the path does not show the format, and the options do not state it.
        InvalidColumns: two columns have one name, or the format cannot hold the type of one.
        NotWritten: the file cannot be opened for writing.
    """
    check_installed()
    from batchline.files import folder, sink

    options = options or WriteOptions()
    if not is_folder(path):
        return sink.open_sink(path, kept, new, options, work)
    options = replace(options, format=options.format_of(path.rstrip("/")))

    def open_part(path: str, work: Work | None) -> Sink:
        return sink.open_sink(path, kept, new, options, work)

    return folder.FolderSink(path, options.ending, open_part, work, replaces=replaces)


def encoder_of(path: str, kept: pa.Schema, new: pa.Schema, options: WriteOptions) -> Encoder:
    """Return what encodes rows for `open_sink` with these arguments, without opening it."""
    from batchline.files import sink

    if not is_folder(path):
        return sink.encoder_of(path, kept, new, options)
    options = replace(options, format=options.format_of(path.rstrip("/")))
    return sink.encoder_of(f"{path}/part{options.ending}", kept, new, options)


def check_installed() -> None:
    """Check that the libraries for files are there.

    Raises:
        FileOptionInvalid: one is not.
    """
    missing = [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]
    if missing:
        raise FileOptionInvalid(
            f"files need {' and '.join(missing)}, which cannot be imported",
            hint=f"run {sys.executable} -m pip install {' '.join(missing)}",
        )
