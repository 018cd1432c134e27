"""How far two predictions of a row differ, and whether the tolerance explains it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import orjson

ABSOLUTE, RELATIVE = 1e-5, 1e-4
"""Numbers count as equal if they differ by at most `ABSOLUTE` + `RELATIVE` × the expected one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of two predictions, and whether it exceeds the tolerance."""

    largest: float
    exceeds: bool

    def joined(self, other: "Difference") -> "Difference":
        """Return the worse of both."""
        return Difference(max(self.largest, other.largest), self.exceeds or other.exceeds)


def difference(found: Sequence[Any], expected: Sequence[Any]) -> Difference:
    """Compare the outputs for one row. Strings and integers must be equal."""
    worst = Difference(0.0, False)
    for one, other in zip(found, expected, strict=True):
        worst = worst.joined(_apart(one, other))
    return worst


def _apart(one: Any, other: Any) -> Difference:
    if isinstance(other, dict):
        if list(one) != list(other):
            return Difference(inf, True)
        one, other = list(one.values()), list(other.values())
    if isinstance(other, list) and any(isinstance(each, np.ndarray) for each in other):
        return Difference(inf, True) if len(one) != len(other) else difference(one, other)
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return Difference(inf, True)
    if other.dtype.kind != "f":
        return Difference(0.0, False) if (one == other).all() else Difference(inf, True)
    return _apart_in_numbers(one.astype(float), other.astype(float))


def _apart_in_numbers(one: Any, other: Any) -> Difference:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return Difference(0.0, False)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)[~same]
        allowed = (ABSOLUTE + RELATIVE * np.abs(other))[~same]
    largest = float(apart.max())
    return Difference(largest if largest == largest else inf, not bool((apart <= allowed).all()))


def differs(one: str, other: str) -> bool:
    """Whether two predictions, as JSON texts, differ by more than the tolerance."""
    if one == other:  # nearly always
        return False
    try:
        return not _agree(orjson.loads(one), orjson.loads(other))
    except orjson.JSONDecodeError:
        return True


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_agree(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) <= ABSOLUTE + RELATIVE * abs(other)
    return type(one) is type(other) and bool(one == other)
