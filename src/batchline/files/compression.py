"""Streams that compress, and that can be continued."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from batchline.file_errors import NotWritten

GZIP_LEVEL = 4
GZIP_WINDOW = 31
"""zlib's number for a gzip header and the largest window."""
COPY_BYTES = 1024 * 1024


class Compressed:
    """A stream that compresses what it is given, as one member."""

    def __init__(self, stream: Any, codec: str) -> None:
        self._codec = codec
        self._stream = _compressed(stream, codec)
        self.text = 0
        """How many bytes it was given."""

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self.text += len(data)
        return len(data)

    def flush_all(self) -> int:
        """Pass on all bytes, so that they can be decompressed, and return their number."""
        self._stream.flush()
        return self.text

    def repeat(self, written: BinaryIO, text: int) -> None:
        """Compress the first `text` bytes of a stream that was not completed again.

        Readers exist that stop after the first member of a file, so no second one is begun.
        """
        for data in _decompressed(written, self._codec, text):
            self.write(data)
        if self.flush_all() != text:
            raise NotWritten(f"only {self.text} bytes of {text} that were kept can be read")

    def close(self) -> None:
        self._stream.close()


def _compressed(stream: Any, codec: str) -> Any:
    """Return a stream that compresses. pyarrow's own gzip takes eight times as long."""
    if codec == "gzip":
        return gzip.GzipFile("", "wb", GZIP_LEVEL, stream, mtime=0)
    return pa.CompressedOutputStream(pa.PythonFile(stream, "w"), codec)


def _decompressed(file: BinaryIO, codec: str, size: int) -> Iterator[bytes]:
    """Return the first `size` bytes of a text whose end may be missing."""
    if codec == "gzip":
        decompressor = zlib.decompressobj(GZIP_WINDOW)
        while size and (data := file.read(COPY_BYTES)):
            text = decompressor.decompress(data)[:size]
            size -= len(text)
            yield text
        return
    stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec)
    while size and (text := stream.read(min(size, COPY_BYTES))):
        size -= len(text)
        yield text
