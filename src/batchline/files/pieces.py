"""A text cut into pieces of whole records: the same pieces each time, whoever reads them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from batchline.constants import (
    FILE_BLOCK_BYTES,
    FILE_BLOCK_MIN_BYTES,
    FILE_BLOCK_ROWS,
    FILE_MIN_BLOCKS,
    RECORD_MAX_BYTES,
)
from batchline.files.records import Positions, line_ends
from batchline.files.texts import Text

EndsOf = Callable[[bytes], Positions]
"""Returns the position behind each whole record of data that starts with a record."""

UNCLOSED = "unclosed_quote"
TOO_LARGE = "record_too_large"


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole records.

    Args:
        start, stop: the range in the text.
        data: the records, each with its line break. The last record of a file may have been given
            one.
        ends: the position behind each record in `data`.
        broken: why its only record cannot be read, as a code. Then `data` is its beginning.
    """

    start: int
    stop: int
    data: bytes = field(repr=False)
    ends: Positions = field(repr=False)
    broken: str = ""


def block_bytes(size: int | None) -> int:
    """Return how much of a file of this size is parsed at a time. None: the size is not known."""
    if size is None:
        return FILE_BLOCK_BYTES
    return max(FILE_BLOCK_MIN_BYTES, min(FILE_BLOCK_BYTES, size // FILE_MIN_BLOCKS))


def pieces(
    text: Text, start: int, ends_of: EndsOf, block: int = FILE_BLOCK_BYTES
) -> Iterator[Piece]:
    """Cut the rest of a text, which begins at the position `start`.

    A piece has about `block` bytes, or one longer record, and at most `FILE_BLOCK_ROWS`.
    """
    left = b""
    while True:
        more = text.read(max(block, len(left)))
        if not more:
            break
        left = left + more if left else more
        ends = ends_of(left)
        if len(ends):
            stop = int(ends[-1])
            yield from _divided(Piece(start, start + stop, left[:stop], ends))
            start, left = start + stop, left[stop:]
        elif len(left) > RECORD_MAX_BYTES:
            broken = _give_up(text, start, left)
            text.unread(left[broken.stop - start :])
            yield broken
            start, left = broken.stop, b""
    yield from _last(left, start, ends_of)


def _last(left: bytes, start: int, ends_of: EndsOf) -> Iterator[Piece]:
    """Cut the end of a file, whose last record may have no line break."""
    while left:
        data = left if left.endswith(b"\n") else left + b"\n"
        ends = ends_of(data)
        broken = "" if len(ends) else UNCLOSED
        if broken:
            ends = line_ends(data)[:1]
        stop = min(int(ends[-1]), len(left))
        yield from _divided(Piece(start, start + stop, data[: int(ends[-1])], ends, broken))
        start, left = start + stop, left[stop:]


def _divided(piece: Piece) -> Iterator[Piece]:
    """Return a piece of many short records in parts: an error takes more memory than they do."""
    if len(piece.ends) <= FILE_BLOCK_ROWS:
        yield piece
        return
    first = 0
    for place in range(0, len(piece.ends), FILE_BLOCK_ROWS):
        ends = piece.ends[place : place + FILE_BLOCK_ROWS]
        last = int(ends[-1])
        stop = min(piece.start + last, piece.stop)
        yield Piece(piece.start + first, stop, piece.data[first:last], ends - first)
        first = last


def _give_up(text: Text, start: int, data: bytes) -> Piece:
    """Return the first line of a record that is too large, as a broken one.

    If that line is short, a quote was opened in it and not closed. A long one is read to its end.
    """
    ends = line_ends(data)[:1]
    if len(ends):
        stop = int(ends[0])
        return Piece(start, start + stop, data[:stop], ends, UNCLOSED)
    beginning, size = data[:FILE_BLOCK_BYTES] + b"\n", len(data)
    while more := text.read(FILE_BLOCK_BYTES):
        behind = more.find(b"\n") + 1
        size += behind or len(more)
        if behind:
            text.unread(more[behind:])
            break
    return Piece(start, start + size, beginning, line_ends(beginning), TOO_LARGE)
