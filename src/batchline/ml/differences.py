"""How far two predictions of a row differ, and whether the tolerance explains it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import orjson

ABSOLUTE, RELATIVE = 1e-5, 1e-4
"""Numbers count as equal if they differ by at most `ABSOLUTE` + `RELATIVE` × the expected one."""


ROUNDING = {"float16": 2e-2}
ROUNDING_OTHERWISE = 1e-3
"""Differences of this share of an output's largest number may come from the type's rounding."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of two predictions, and whether it exceeds the tolerance.

    `is_rounding` tells whether the type of the output explains even a difference that exceeds it.
    """

    largest: float = 0.0
    exceeds: bool = False
    is_rounding: bool = True

    def joined(self, other: "Difference") -> "Difference":
        """Return the worse of both."""
        return Difference(
            max(self.largest, other.largest),
            self.exceeds or other.exceeds,
            self.is_rounding and other.is_rounding,
        )


NO_DIFFERENCE = Difference()
OTHER_VALUE = Difference(inf, exceeds=True, is_rounding=False)


def difference(found: Sequence[Any], expected: Sequence[Any]) -> Difference:
    """Compare the outputs for one row. Strings and integers must be equal."""
    worst = NO_DIFFERENCE
    for one, other in zip(found, expected, strict=True):
        worst = worst.joined(_apart(one, other))
    return worst


def _apart(one: Any, other: Any) -> Difference:
    if isinstance(other, dict):
        if list(one) != list(other):
            return OTHER_VALUE
        one, other = list(one.values()), list(other.values())
    if isinstance(other, list) and any(isinstance(each, np.ndarray) for each in other):
        return OTHER_VALUE if len(one) != len(other) else difference(one, other)
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return OTHER_VALUE
    if other.dtype.kind != "f":
        return NO_DIFFERENCE if (one == other).all() else OTHER_VALUE
    return _apart_in_numbers(one.astype(float), other.astype(float), str(other.dtype))


def _apart_in_numbers(one: Any, other: Any, dtype: str) -> Difference:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return NO_DIFFERENCE
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)[~same]
        allowed = (ABSOLUTE + RELATIVE * np.abs(other))[~same]
    largest = float(apart.max())
    if not largest < inf:  # NaN or infinity instead of a number
        return OTHER_VALUE
    scale = float(np.abs(other[np.isfinite(other)]).max(initial=0.0))
    rounding = ROUNDING.get(dtype, ROUNDING_OTHERWISE) * scale
    return Difference(largest, not bool((apart <= allowed).all()), largest <= rounding)


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
