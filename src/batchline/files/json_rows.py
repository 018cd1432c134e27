"""Lines of JSON as bytes, and their members as texts."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Self, cast

import numpy as np
import pyarrow as pa

from batchline.constants import JSON_MAX_DEPTH
from batchline.file_errors import InvalidColumns
from batchline.files.arrays import from_strings
from batchline.files.byte_rows import ByteRows
from batchline.files.json_values import CLOSING, OPENING, SHORT, dump, is_too_deep, load
from batchline.files.records import Positions

BLANKS = b"\t\n\r "
BLANK = np.zeros(256, bool)
BLANK[list(BLANKS)] = True
NAN = b"NaN"

_blanks = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder(strict=True).raw_decode


@dataclass(frozen=True)
class JsonRows(ByteRows):
    """Lines of one file, without the blanks around them. Blank lines are left out.

    Args:
        columns: the keys of the first lines of the file.
        keeps_all: whether the output needs all members.
    """

    columns: tuple[str, ...]
    keeps_all: bool = True

    @classmethod
    def lines(cls, data: bytes, ends: Positions, columns: tuple[str, ...]) -> Self:
        found = cls.cut(data, ends, columns=columns)
        array = np.frombuffer(data, np.uint8)
        starts, stops = found.starts.copy(), found.stops.copy()
        loose = BLANK[array[starts]] | BLANK[array[stops - 1]]
        for row in np.flatnonzero(loose).tolist():
            line = found[row].lstrip(BLANKS)
            starts[row] = stops[row] - len(line)
            stops[row] = starts[row] + len(line.rstrip(BLANKS))
        rows = stops > starts
        lines = cls(data, starts[rows], stops[rows], found.is_whole, columns)
        return lines.mended(lines._with_nan()) if NAN in data else lines

    @property
    def are_objects(self) -> bool:
        """Whether each line looks like an object."""
        array = np.frombuffer(self.data, np.uint8)
        begin, end = array[self.starts], array[self.stops - 1]
        return bool((begin == OPENING).all() and (end == CLOSING).all())

    @property
    def are_shallow(self) -> bool:
        """Whether no line is nested too deeply. Most files have no line that is long enough."""
        if (self.stops - self.starts <= SHORT).all():
            return True
        array = np.frombuffer(self.data, np.uint8)
        opening = np.flatnonzero((array | 32) == OPENING)  # brackets, too
        counts = np.searchsorted(opening, self.stops) - np.searchsorted(opening, self.starts)
        suspects = np.flatnonzero(counts > JSON_MAX_DEPTH).tolist()
        return not any(is_too_deep(self[row]) for row in suspects)

    def _with_nan(self) -> Iterator[int]:
        """Return the lines that would be JSON if NaN were. It is a missing value, so it is null."""
        for row in range(len(self)):
            if NAN in (line := self[row]):
                constants: list[str] = []
                try:
                    load(line.decode(), constants.append)
                except ValueError:
                    continue  # it is an error of its row
                if constants and all(each == NAN.decode() for each in constants):
                    yield row

    def keeping(self, names: Sequence[str] | None) -> Self:
        return replace(self, keeps_all=names is None)

    def well_formed(self, row: int) -> bytes:
        """Return a line as an object, which is empty for a line that is none.

        A byte that is not UTF-8 becomes U+FFFD. NaN and infinity become null.
        """
        line = self[row].decode("utf-8", "replace")
        constants: list[str] = []
        try:
            found = load(line, constants.append)
        except ValueError:
            found = None
        if type(found) is not tuple:
            return b"{}"
        return (dump(found) if constants else line).encode()

    def members(self, row: int) -> dict[str, str]:
        """Return the values of a well-formed line by their keys, as JSON."""
        return dict(members(self[row].decode()))

    def table(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return members as texts: those of strings, and the JSON of all other values."""
        rows = [self.members(row) for row in range(len(self))]
        if self.keeps_all:
            names = set(schema.names)
            for row in rows:
                _check_known(row.keys() - names)
        columns = [
            from_strings([_as_text(row.get(name, "null")) for row in rows]) for name in schema.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def members(text: str) -> Iterator[tuple[str, str]]:
    """Return the keys and the JSON of the values of an object, in order.

    Raises:
        ValueError: the text is not a JSON object.
    """
    at = _after(text, 0, "{")
    while not text.startswith("}", at):
        name, at = cast(tuple[str, int], scanstring(text, _after(text, at, '"', 0), True))
        start = _after(text, _skip(text, at), ":")
        _, at = _decode(text, start)
        yield name, text[start:at]
        at = _skip(text, at)
        at = at if text.startswith("}", at) else _after(text, at, ",")


def _skip(text: str, at: int) -> int:
    return _blanks.match(text, at).end()  # type: ignore[union-attr]


def _after(text: str, at: int, character: str, blanks: int = 1) -> int:
    """Return the position behind a character that must be here, and behind blanks."""
    if not text.startswith(character, at):
        raise ValueError(f"expected {character} at character {at + 1}")
    return _skip(text, at + 1) if blanks else at + 1


def _as_text(value: str) -> str | None:
    if value == "null":
        return None
    if not value.startswith('"'):
        return value
    text = cast(str, json.loads(value))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _check_known(unknown: set[str]) -> None:
    if unknown:
        raise InvalidColumns(
            f"a row has the key {min(unknown)!r}, which the first rows do not have, so that the "
            "output has no column for it",
            hint="name the columns to --keep, or write JSON Lines",
        )
