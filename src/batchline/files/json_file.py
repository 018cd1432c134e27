"""A JSON Lines file, and the parts in which it is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import pyarrow as pa

from batchline.constants import RECORD_MAX_BYTES
from batchline.errors import Fault
from batchline.files.blocks import Trouble
from batchline.files.columns import missing
from batchline.files.json_block import read_features
from batchline.files.json_rows import JsonRows, members
from batchline.files.kinds import Kind
from batchline.files.locations import Location
from batchline.files.options import ReadOptions
from batchline.files.pieces import EndsOf
from batchline.files.records import Positions, line_ends
from batchline.files.text_parts import TextPart, parts_of
from batchline.files.texts import Text

FIRST_BYTES = 256 * 1024
"""How much of each file is read at first to find its keys, or its first line if that is longer."""


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A JSON Lines file of which the first lines were read.

    Args:
        columns: the keys of these lines.
        is_small: whether they are all lines.
    """

    location: Location
    options: ReadOptions
    columns: tuple[str, ...]
    is_small: bool
    start: int
    _text: Text | None = field(default=None, repr=False, compare=False)
    """Standard input, read up to `start`."""

    @classmethod
    def open(cls, location: Location, options: ReadOptions) -> Self:
        """Find the keys of the first lines.

        Raises:
            FileUnreadable: the file cannot be read.
        """
        text = Text(location, options)
        try:
            data = text.read(FIRST_BYTES)
            is_small = len(data) < FIRST_BYTES
            while (
                b"\n" not in data
                and len(data) < RECORD_MAX_BYTES
                and (more := text.read(len(data)))
            ):
                data += more
        except BaseException:
            text.close()
            raise
        file = cls(location, options, _keys(data), is_small, text.start)
        if location.reopens:
            text.close()
            return file
        text.unread(data)
        return replace(file, _text=text)

    @property
    def allows_missing_keys(self) -> bool:
        return True

    @property
    def is_open_ended(self) -> bool:
        return not self.is_small

    @property
    def kept(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self.columns])

    def close(self) -> None:
        if self._text:
            self._text.close()

    def check(self, features: Mapping[str, Kind]) -> list[Fault]:
        """Return what is wrong with the keys. A key may well be only in later lines."""
        if not self.is_small or not self.columns:
            return []
        absent = [n for n, kind in features.items() if n not in self.columns and not kind.optional]
        path = self.location.path
        return missing(path, absent, self.columns, features, what="key", end=" in all lines")

    def parts(self) -> Iterator[TextPart]:
        """Cut the file into parts, which are the same each time."""
        text = self._text or Text(self.location, self.options)
        try:
            yield from parts_of(replace(self, _text=None), text, self.start, 1)
        finally:
            text.close()

    @property
    def ends_of(self) -> EndsOf:
        return line_ends

    def records(self, data: bytes, ends: Positions) -> JsonRows:
        return JsonRows.lines(data, ends, self.columns)

    def read_features(
        self, records: JsonRows, features: Mapping[str, Kind], trouble: Trouble
    ) -> dict[str, pa.Array]:
        return read_features(records, features, trouble)


def _keys(data: bytes) -> tuple[str, ...]:
    """Return the keys of all lines that can be read, in the order in which they occur."""
    found: dict[str, None] = {}
    for line in data.splitlines():
        try:
            found.update(dict.fromkeys(name for name, _ in members(line.decode().strip())))
        except (ValueError, RecursionError):
            continue  # it is an error of its row, or the rest of it was not read
    return tuple(found)
