"""The text of a file: decompressed, in UTF-8, without byte order mark."""

import codecs
from typing import Any, BinaryIO

import pyarrow as pa

from batchline.file_errors import FileUnreadable, SourceChanged
from batchline.files.locations import Location, unreadable
from batchline.files.options import ReadOptions

MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""The first bytes of a compressed file. No text starts with them."""
BYTE_ORDER_MARK = codecs.BOM_UTF8
TRANSCODED_BYTES = 1024 * 1024


class Counted:
    """A file that counts the bytes that were read from it, and can show its first ones."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""
        self.count = 0

    def peek(self, size: int) -> bytes:
        self._ahead += self._fill(size - len(self._ahead))
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        found = self._ahead[:size]
        self._ahead = self._ahead[size:]
        if len(found) < size:
            found += self._fill(size - len(found))
        self.count += len(found)
        return found

    def _fill(self, size: int) -> bytes:
        """Read `size` bytes, or all that are left. A pipe returns fewer at a time."""
        found = self._file.read(size)
        while 0 < len(found) < size:
            more = self._file.read(size - len(found))
            if not more:
                break
            found += more
        return found

    def skip_to(self, position: int) -> None:
        self._file.seek(position)
        self._ahead, self.count = b"", position

    def close(self) -> None:
        self.closed = True
        self._file.close()


class Text:
    """The text of a file, read from its beginning.

    Raises:
        FileUnreadable: it cannot be read, or is no text.
    """

    def __init__(self, location: Location, options: ReadOptions) -> None:
        self._location = location
        self._raw = Counted(location.open())
        try:
            self._begin(options)
        except BaseException:
            self.close()
            raise

    def _begin(self, options: ReadOptions) -> None:
        """Find out how the file is compressed, and skip its byte order mark."""
        location = self._location
        try:
            head = self._raw.peek(4)
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            raise unreadable(location.path, error) from error
        codec = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
        self._bytes: Any = self._raw
        if codec:
            self._bytes = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), codec)
        self._decoder = _decoder(options) if options.transcodes else None
        self.is_plain = codec is None and self._decoder is None
        """Whether positions in the text are positions in the file."""
        self._ahead = self._read(4)
        self.start = len(BYTE_ORDER_MARK) if self._ahead.startswith(BYTE_ORDER_MARK) else 0
        _check_head(location.name, self._ahead)
        self._ahead = self._ahead[self.start :]

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file were read so far."""
        return self._raw.count

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end of the file.

        Raises:
            FileUnreadable: the file is damaged or cut off.
            SourceChanged: the end was reached, and the file is not the one that was found.
        """
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        while len(found) < size:
            more = self._read(size - len(found))
            if not more:
                self._check_end()
                break
            found = found + more if found else more
        if len(found) > size:  # decoders return as much as they like
            found, self._ahead = found[:size], found[size:] + self._ahead
        return found

    def unread(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def skip_to(self, position: int) -> None:
        """Go to a position in the text, counted with the byte order mark. Nothing was read yet."""
        if self.is_plain:
            self._raw.skip_to(position)
            self._ahead = b""
            return
        left = position - self.start
        while left > 0 and (skipped := len(self.read(min(left, TRANSCODED_BYTES)))):
            left -= skipped

    def close(self) -> None:
        self._raw.close()

    def _read(self, size: int) -> bytes:
        try:
            if self._decoder is None:
                found: bytes = self._bytes.read(size)
                return found
            return self._transcode()
        except UnicodeError as error:
            raise FileUnreadable(
                f"{self._location.name} is not {self._decoder_name()}: {error}",
                hint="add --encoding with the encoding of the file",
            ) from error
        except Exception as error:  # each of fsspec's filesystems has errors of its own
            raise unreadable(self._location.path, error) from error

    def _transcode(self) -> bytes:
        """Bytes that the encoding does not know stay as they are: they are errors of their rows."""
        assert self._decoder is not None
        while True:
            found = self._bytes.read(TRANSCODED_BYTES)
            text = self._decoder.decode(found, final=not found)
            if text or not found:
                return text.encode("utf-8", "surrogateescape")

    def _decoder_name(self) -> str:
        return type(self._decoder).__module__.removeprefix("encodings.").replace("_", "-")

    def _check_end(self) -> None:
        found = self._location
        if found.size not in (None, self._raw.count) or not found.is_unchanged():
            raise SourceChanged(
                f"{found.name} changed while it was read",
                hint="wait until nothing writes to it, then run the command again",
            )


def _decoder(options: ReadOptions) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(options.encoding)("surrogateescape")


def _check_head(path: str, head: bytes) -> None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head[:2]:
        raise FileUnreadable(f"{path} is UTF-16, not UTF-8", hint="add --encoding utf-16")
    if head == b"PAR1":
        raise FileUnreadable(f"{path} is a Parquet file", hint="add --input-format parquet")
