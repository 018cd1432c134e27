"""Which rows may have ended the process, and which ones did. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

CERTAIN = 3
"""Strikes after which a call is convicted. A trap or a timeout is certain at once. Being killed is
not: the operator may have done it, or the kernel for want of memory."""
PIECES = 16
"""Pieces into which suspect rows are split. Each level costs one more death if there is a row that
ends the process, and at most this many calls if there is none."""
SMALLER = 4
"""If only a large call ends the process, this part of its rows is given to the model at a time."""


@dataclass(frozen=True, slots=True)
class Call:
    """Rows that one call of the model takes.

    Args:
        part: the number of their part in the run, from 0.
        block: the number of their block in the part, from 0.
        first: the position of the first one among the valid rows of the block.
    """

    part: int
    block: int
    first: int
    rows: int

    @property
    def stop(self) -> int:
        return self.first + self.rows

    def rows_in(self, other: "Call") -> range:
        """Return the positions of the rows that both have."""
        if (self.part, self.block) != (other.part, other.block):
            return range(0)
        return range(max(self.first, other.first), min(self.stop, other.stop))

    def from_(self, first: int) -> "Call":
        """Return the rest of the rows."""
        return replace(self, first=first, rows=max(0, self.stop - first))


@dataclass(frozen=True, slots=True)
class Death:
    """Why the process ended.

    Args:
        code, detail: of a row that was predicted by itself meanwhile.
        is_certain: whether it cannot have had another cause than a call of the model.
    """

    code: str
    detail: str
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Case:
    """What is known about the rows at which the process ended.

    Args:
        suspects: calls that must be made in pieces first.
        convicted: single rows that the model does not get.
        call_rows: the largest number of rows of a call from now on, or None.
    """

    suspects: tuple[Call, ...] = ()
    convicted: Mapping[Call, Death] = field(default_factory=dict)
    strikes: Mapping[Call, int] = field(default_factory=dict)
    call_rows: int | None = None

    def after(self, calls: Sequence[Call], death: Death) -> "Case":
        """Return the case after the process ended during these calls.

        If there were several, any of them can be the cause: all become suspect.
        """
        found = self
        for call in calls:
            if len(calls) > 1 or (call.rows > 1 and call not in self.suspects):
                found = found._suspecting(call)
            else:
                found = found._striking(call, death)
        return found

    def _suspecting(self, call: Call) -> "Case":
        """Return the case in which a call must be made in pieces.

        If it was a piece of a larger one, the pieces before it were harmless.
        """
        if call in self.suspects:
            return self
        rest = (each.from_(call.stop) if each.rows_in(call) else each for each in self.suspects)
        return replace(self, suspects=(call, *(each for each in rest if each.rows)))

    def _striking(self, call: Call, death: Death) -> "Case":
        strikes = self.strikes.get(call, 0) + (CERTAIN if death.is_certain else 1)
        found = replace(self, strikes={**self.strikes, call: strikes})
        if strikes < CERTAIN:
            return found._continued_at(call, call.first) if call.rows == 1 else found
        if call.rows == 1:
            convicted = {**self.convicted, call: death}
            return replace(found, convicted=convicted)._continued_at(call, call.stop)
        others = tuple(each for each in self.suspects if each != call)
        return replace(found, suspects=others, call_rows=max(1, call.rows // SMALLER))

    def _continued_at(self, call: Call, first: int) -> "Case":
        """Return the case in which the suspect rows before `first` were harmless."""
        rest = (each.from_(first) if each.rows_in(call) else each for each in self.suspects)
        suspects = tuple(each for each in rest if each.rows)
        if first == call.first and not any(each.rows_in(call) for each in suspects):
            suspects = (*suspects, call)
        return replace(self, suspects=suspects)

    def without_parts_before(self, part: int) -> "Case":
        return replace(self, suspects=tuple(each for each in self.suspects if each.part >= part))

    def concerns(self, part: int) -> bool:
        """Whether the process may have ended, or did, at a row of a part."""
        return any(call.part == part for call in (*self.suspects, *self.convicted))

    def pieces_of(self, call: Call) -> Iterator[Call]:
        """Return the pieces of a call that must be predicted by themselves first."""
        for suspect in self.suspects:
            rows = suspect.rows_in(call)
            size = max(1, -(-suspect.rows // PIECES))
            for first in rows[::size]:
                yield replace(call, first=first, rows=min(size, rows.stop - first))

    def convicted_row(self, call: Call) -> Death | None:
        """Return why a row of a call must not be predicted, or None."""
        return next((death for row, death in self.convicted.items() if row.rows_in(call)), None)
