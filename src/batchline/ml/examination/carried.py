"""Which features a tensor of a graph carries: the values of the inputs that are in it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Feature = tuple[str, int]
"""The name of an input, and a place along the last dimension of its rows (0 for all values)."""

Features = frozenset[Feature]
NONE: Features = frozenset()


@dataclass(frozen=True, slots=True)
class Carried:
    """The features whose values are in a tensor, so that NaN for one of them is NaN in there.

    Args:
        columns: the features of each column of a tensor [rows, width], or of the only column of a
            tensor [rows]. None: the layout is not known, so a value may be anywhere.
        anywhere: all features, if the layout is not known.
        is_vector: whether it is a tensor [rows].
        checked: if it tells for each value of another tensor whether it is NaN, the name of that
            tensor. Its features are those of that tensor, and no NaN is in it.
        negated: whether it tells so by false.
    """

    columns: tuple[Features, ...] | None = None
    anywhere: Features = NONE
    is_vector: bool = False
    checked: str = ""
    negated: bool = False

    @property
    def features(self) -> Features:
        """Return all features that are in the tensor."""
        return self.anywhere.union(*self.columns or ())

    @property
    def width(self) -> int | None:
        """Return the number of columns of a tensor [rows, width], or None."""
        return None if self.columns is None or self.is_vector else len(self.columns)

    def cleared(self) -> "Carried":
        """Return the same layout without a feature."""
        columns = None if self.columns is None else (NONE,) * len(self.columns)
        return Carried(columns, is_vector=self.is_vector)

    def scattered(self) -> "Carried":
        """Return the same features in a layout that is not known."""
        return Carried(anywhere=self.features)

    def taken(self, places: Sequence[int], *, is_vector: bool = False) -> "Carried":
        """Return these columns of a tensor with a known layout."""
        columns = self.columns or ()
        return Carried(tuple(columns[place] for place in places), is_vector=is_vector)

    def without(self, other: "Carried") -> "Carried":
        """Return the columns without the features of the same columns of another tensor."""
        pairs = zip(self.columns or (), other.columns or (), strict=True)
        return replace(self, columns=tuple(one - gone for one, gone in pairs))


NOTHING = Carried()


def scattered(parts: Iterable[Carried]) -> Carried:
    """Return the features of several tensors in a layout that is not known."""
    return Carried(anywhere=NONE.union(*(part.features for part in parts)))


def side_by_side(parts: Sequence[Carried]) -> Carried:
    """Return the columns of all parts, in their order, if all layouts are known."""
    if any(part.width is None for part in parts):
        return scattered(parts)
    return Carried(tuple(column for part in parts for column in part.columns or ()))


def overlaid(parts: Sequence[Carried]) -> Carried:
    """Return tensors of one layout, of which some are constants, combined value by value."""
    known = [part.columns for part in parts if part.columns is not None]
    columns = tuple(NONE.union(*column) for column in zip(*known, strict=True))
    return Carried(columns, is_vector=any(part.is_vector for part in parts))
