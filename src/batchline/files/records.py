"""Where records end in the bytes of a file. Pure, and in bulk: numpy looks at each byte once."""

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Bytes = NDArray[np.uint8]

LF, CR, QUOTE = 10, 13, 34


def line_ends(data: bytes) -> Positions:
    """Return the position behind each newline."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == LF) + 1


def record_ends(data: bytes, delimiter: str) -> Positions:
    """Return the position behind each line break outside quotes.

    `data` starts with a record. A line break is LF, CRLF, or a CR alone. A quote opens a cell only
    if it is the first character of the cell. Otherwise it is text, as it is for pyarrow.
    """
    array = np.frombuffer(data, np.uint8)
    breaks = line_breaks(data, array)
    if b'"' not in data:
        return breaks
    quotes = np.flatnonzero(array == QUOTE)
    if _pair_up(array, quotes, ord(delimiter)):
        outside = np.searchsorted(quotes, breaks) % 2 == 0
        found: Positions = breaks[outside]
        return found
    opened, closed = _quoted_cells(array, quotes, ord(delimiter))
    if not len(opened):
        return breaks
    cell = np.searchsorted(opened, breaks) - 1
    inside = (cell >= 0) & (breaks <= closed[cell])
    return breaks[~inside]


def count_lines(data: bytes) -> int:
    """Return the number of line breaks, in quotes or not, in data that ends with one."""
    array = np.frombuffer(data, np.uint8)
    if b"\r" not in data:
        return int(np.count_nonzero(array == LF))
    return len(line_breaks(data, array)) + data.endswith(b"\r")


def line_breaks(data: bytes, array: Bytes) -> Positions:
    """Return the position behind each line break, in quotes or not."""
    breaks = np.flatnonzero(array == LF)
    if b"\r" not in data:
        return breaks + 1
    returns = np.flatnonzero(array == CR)
    if returns[-1] == len(data) - 1:  # the rest of the file shows whether an LF follows
        returns = returns[:-1]
    alone = returns[array[returns + 1] != LF]
    if not len(alone):
        return breaks + 1
    return np.sort(np.concatenate([breaks, alone])) + 1


def _pair_up(array: Bytes, quotes: Positions, delimiter: int) -> bool:
    """Whether each second quote ends a cell, so that a quote's parity shows what it means."""
    opening, closing = quotes[::2], quotes[1::2]
    beside = np.zeros(256, bool)
    beside[[delimiter, LF, CR, QUOTE]] = True
    before = opening[opening > 0] - 1
    after = closing[closing < len(array) - 1] + 1
    return bool(beside[array[before]].all() and beside[array[after]].all())


def _quoted_cells(array: Bytes, quotes: Positions, delimiter: int) -> tuple[Positions, Positions]:
    """Return the opening and the closing quote of each quoted cell, one cell after the other.

    The closing quote of a cell that is never closed is behind the end of the data.
    """
    starts = np.zeros(256, bool)
    starts[[delimiter, LF, CR]] = True
    can_open = (quotes == 0) | starts[array[quotes - 1]]
    places, opens = quotes.tolist(), np.flatnonzero(can_open).tolist()
    opened, closed, behind = [], [], -1
    for first in opens:
        if first <= behind:
            continue
        behind = _closing(places, first)
        opened.append(places[first])
        closed.append(places[behind] if behind < len(places) else len(array) + 1)
    return np.array(opened, np.int64), np.array(closed, np.int64)


def _closing(places: list[int], opening: int) -> int:
    """Return which quote closes the cell that the quote number `opening` opens."""
    at = opening + 1
    while at + 1 < len(places) and places[at + 1] == places[at] + 1:
        at += 2
    return at
