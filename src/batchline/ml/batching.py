"""How many rows one call of a model may take: proven by calls, not assumed.

The same rows are predicted alone, then two and many at a time, in different company. Only where
each row's numbers stay the same, within a tolerance, are rows predicted together.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from random import Random
from typing import Any, Self

import numpy as np

from batchline.constants import CALL_MAX_BYTES, CALL_MAX_ROWS, PROOF_SECONDS
from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.layouts import Layout
from batchline.ml.rows import Rows
from batchline.ml.session import Session

ABSOLUTE, RELATIVE = 1e-5, 1e-4
"""Numbers are the same if they differ by at most `ABSOLUTE` + `RELATIVE` × the number alone."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How many rows one call takes, and why.

    Args:
        size: rows in each call, None for any number; calls with fewer rows are filled up.
        axis: whether the tensors have an axis for rows; where they have none, `size` is 1.
        row_bytes: what a row's tensors take, in and out.
        difference: the largest that was measured between a row's numbers alone and in company; None
            where they had another label or shape.
        reason: why the rows are not batched freely; "" if they are.
    """

    size: int | None = None
    axis: bool = True
    row_bytes: int = 1
    difference: float | None = 0.0
    reason: str = ""

    @property
    def call_rows(self) -> int:
        """How many rows one call takes so that its tensors fit into the memory."""
        return self.size or max(1, min(CALL_MAX_ROWS, CALL_MAX_BYTES // self.row_bytes))

    @property
    def verdict(self) -> str:
        """In a word or two: `batched`, `alone`, or `batches of 3`."""
        if self.size is None:
            return "batched"
        return "alone" if self.size == 1 else f"batches of {self.size}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(**stored)


def call(session: Session, rows: Rows, batching: Batching, per_row: Sequence[bool]) -> list[Any]:
    """The outputs for up to `call_rows` rows, each with the rows' axis first.

    Args:
        per_row: for each output, whether the model gives an entry for each row; what it gives as a
            whole is the one row's.

    Raises:
        ModelFailed: the model raised, or gave another number of results than rows.
    """
    if not batching.axis:
        outputs = session.run({name: t[0] for name, t in rows.tensors.items()} | dict(rows.once))
    else:
        filled = _filled(rows, batching.size)
        outputs = session.run({**filled.tensors, **rows.once})
        _check_counts(session, outputs, per_row, len(filled))
    split = [batching.axis and each for each in per_row]
    return [
        output[: len(rows)] if each else _as_one_row(output)
        for output, each in zip(outputs, split, strict=True)
    ]


def _filled(rows: Rows, size: int | None) -> Rows:
    if size is None or len(rows) == size:
        return rows
    return rows[[min(place, len(rows) - 1) for place in range(size)]]


def _check_counts(
    session: Session, outputs: Sequence[Any], per_row: Sequence[bool], rows: int
) -> None:
    for declared, output, each in zip(session.outputs, outputs, per_row, strict=True):
        given = _count(output)
        if each and given != rows:
            raise ModelFailed(f"output {declared.name} has {given} results for {rows} rows")


def _count(output: Any) -> int:
    return len(output) if isinstance(output, list) or np.ndim(output) else 0


def _as_one_row(output: Any) -> Any:
    return output[np.newaxis] if isinstance(output, np.ndarray) else [output]


# The proof -------------------------------------------------------------------------------------


def splits(session: Session, rows: Rows, layout: Layout) -> list[bool]:
    """For each output, whether it has an entry for each row, as far as single rows can tell.

    Raises:
        ModelFailed: the model raised.
    """
    if not layout.axis:
        return [False] * len(session.outputs)
    found = [True] * len(session.outputs)
    for place in range(len(rows)):
        filled = _filled(rows[[place]], layout.size)
        outputs = session.run({**filled.tensors, **filled.once})
        counts = map(_count, outputs)
        found = [was and count == len(filled) for was, count in zip(found, counts, strict=True)]
    return found


def prove(session: Session, rows: Rows, batching: Batching, per_row: Sequence[bool]) -> Batching:
    """What of this batching holds: itself, or one row at a time.

    Args:
        rows: at least two, at each of which the model has not raised.

    Raises:
        ConfigurationError: the model gives another answer for the same row each time.
    """
    single = replace(batching, size=1) if batching.size is None else batching
    started = time.perf_counter()
    alone = [call(session, rows[[place]], single, per_row) for place in range(len(rows))]
    seconds = (time.perf_counter() - started) / len(rows)
    _must_repeat(session, rows, single, per_row, alone)
    batching = replace(batching, row_bytes=_row_bytes(rows, alone))
    if batching.size == 1:
        return batching
    if not all(per_row):
        names = ", ".join(
            o.name for o, each in zip(session.outputs, per_row, strict=True) if not each
        )
        return replace(batching, size=1, reason=f"{names} has no entry for each row")
    most = batching.size or max(2, min(CALL_MAX_ROWS, int(PROOF_SECONDS / max(seconds, 1e-6))))
    most = min(most, max(2, batching.call_rows))
    worst = Difference(0.0, False)
    for company in _companies(len(rows), most):
        try:
            together = call(session, rows[company], batching, per_row)
        except ModelFailed as error:
            reason = f"the model fails with {len(company)} rows at once: {error.detail}"
            return replace(batching, size=1, reason=reason)
        for place, row in enumerate(company):
            worst = worst.joined(difference(_entry(together, place), _entry(alone[row], 0)))
    if worst.exceeds:
        reason = f"a row's numbers depend on its company: they differ by {_told(worst.largest)}"
        return replace(batching, size=1, difference=_finite(worst.largest), reason=reason)
    return replace(batching, difference=worst.largest)


def _must_repeat(
    session: Session,
    rows: Rows,
    batching: Batching,
    per_row: Sequence[bool],
    first: Sequence[Sequence[Any]],
) -> None:
    for place in reversed(range(len(rows))):
        again = call(session, rows[[place]], batching, per_row)
        found = difference(_entry(again, 0), _entry(first[place], 0))
        if found.exceeds:
            raise ConfigurationError(
                "the model gives another answer each time for the same row: they differ by "
                f"{_told(found.largest)}",
                hint="export it without dropout, sampling, or a state that it keeps",
            )


def _finite(largest: float) -> float | None:
    """JSON has no infinity: of another label or shape there is no difference in numbers."""
    return None if largest == inf else largest


def _told(largest: float) -> str:
    return "another label or shape" if largest == inf else f"{largest:.3g}"


def _companies(rows: int, most: int) -> Iterator[list[int]]:
    """Which rows are predicted together: pairs, all, and many, in different orders."""
    random = Random(0)  # noqa: S311, not a secret
    everyone = list(range(rows))
    for place in range(min(rows, 4)):
        yield [place, (place + 1) % rows]
    for count in sorted({min(count, most) for count in (2, 3, rows, 7 * rows, most)}):
        for _ in range(2):
            yield [random.choice(everyone) for _ in range(count)]


def _entry(outputs: Sequence[Any], place: int) -> list[Any]:
    return [output[place] for output in outputs]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two answers are apart, and whether that is more than the tolerance."""

    largest: float
    exceeds: bool

    def joined(self, other: "Difference") -> "Difference":
        """Of both the worse."""
        return Difference(max(self.largest, other.largest), self.exceeds or other.exceeds)


def difference(found: Sequence[Any], expected: Sequence[Any]) -> Difference:
    """Compare the outputs for one row; texts and integers have to be the same."""
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


def _row_bytes(rows: Rows, alone: Sequence[Sequence[Any]]) -> int:
    given = max(sum(_size(output) for output in outputs) for outputs in alone)
    return max(1, rows.nbytes // len(rows) + given)


def _size(output: Any) -> int:
    return output.nbytes if isinstance(output, np.ndarray) else 0
