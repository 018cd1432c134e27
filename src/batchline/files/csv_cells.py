"""CSV cells that pyarrow did not convert: which of them are wrong, and the values of the others.

pyarrow refuses a whole block for one cell. These rules accept all decimal numbers that pyarrow
accepts, with equal values, and also words for missing numbers, thousands marks, and integers such
as 1.0 or 1E+05.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchline.files.arrays import from_numpy, from_strings, mask_of, validity, values_of, without
from batchline.files.blocks import Mask
from batchline.files.kinds import Kind
from batchline.files.options import NUMBER_NULLS

TRUE, FALSE = ("1", "true", "True", "TRUE"), ("0", "false", "False", "FALSE")
INTEGER = "^-?[0-9]{1,18}$"
"""So many digits are within int64."""
NAN = r"(?i)^[+-]?nan(\([0-9a-z_]*\))?$"
INFINITE = r"(?i)^[+-]?inf(inity)?$"

NO_COMMA = "expected a number with the decimal mark '.'"

Report = Callable[[int, str, str, str], None]
"""Is called with a row, a code, a sentence and the value."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How numbers are written."""

    decimal: str = "."
    thousands: str = ""

    @property
    def number(self) -> str:
        mark = re.escape(self.decimal)
        return rf"^[+-]?([0-9]+({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]+)?$"

    @property
    def grouped(self) -> str:
        mark, decimal = re.escape(self.thousands), re.escape(self.decimal)
        return rf"^[+-]?[0-9]{{1,3}}({mark}[0-9]{{3}})+({decimal}[0-9]*)?$"


def convert(cells: pa.Array, kind: Kind, marks: Marks, report: Report) -> pa.Array:
    """Return texts as values of a kind. A cell that is none is reported and becomes null."""
    if kind.is_text:
        return cells
    if kind.dtype == "bool":
        return _booleans(cells, report)
    words = pc.ascii_trim(cells, " \t")
    missing = _missing(words) | _matches(words, NAN)
    texts = _without_thousands(words, marks)
    well = _matches(texts, marks.number) & ~missing
    if marks.decimal != ".":
        texts = pc.replace_substring(texts, marks.decimal, ".")
    for row in np.flatnonzero(~well & ~missing):
        report(int(row), *_not_a_number(words[row].as_py(), marks))
    return (
        _integers(texts, well, kind, report)
        if kind.is_integer
        else _floats(texts, well, kind, report)
    )


def _booleans(cells: pa.Array, report: Report) -> pa.Array:
    true, false = _one_of(cells, TRUE), _one_of(cells, FALSE)
    for row in np.flatnonzero(~(true | false | _missing(cells))):
        report(int(row), "not_a_bool", "expected true or false", cells[row].as_py())
    return from_numpy(true, pa.bool_(), true | false)


def _floats(texts: pa.Array, well: Mask, kind: Kind, report: Report) -> pa.Array:
    wide = pa.float32() if kind.dtype == "float16" else kind.value_type
    numbers = without(texts, ~well).cast(wide)
    with np.errstate(over="ignore"):
        values = values_of(numbers).astype(kind.dtype)
    finite = np.isfinite(values) | ~well
    for row in np.flatnonzero(~finite):
        report(
            int(row),
            "out_of_range",
            f"the number is out of the range of {kind}",
            texts[row].as_py(),
        )
    return from_numpy(np.where(well, values, 0), kind.value_type, well & finite)


def _integers(texts: pa.Array, well: Mask, kind: Kind, report: Report) -> pa.Array:
    texts = pc.replace_substring_regex(texts, r"([0-9])\.0*$", r"\1")
    plain = _matches(texts, INTEGER) & well
    values = np.where(plain, values_of(without(texts, ~plain).cast(pa.int64())), 0)
    least, most = kind.limits
    fits = plain & (values >= max(least, -(2**63))) & (values <= min(most, 2**63 - 1))
    found = values.astype(kind.dtype)
    for row in np.flatnonzero(well & ~fits):
        text = texts[row].as_py()
        number = _integer(text)
        if number is None:
            report(int(row), "not_an_integer", "expected an integer", text)
        elif not least <= number <= most:
            report(int(row), "out_of_range", f"expected {least} to {most}", text)
        else:
            found[row], fits[row] = number, True
    return from_numpy(found, kind.value_type, fits)


def _integer(text: str) -> int | None:
    """Return the integer that a well-formed number is, or None if it has a fraction."""
    try:
        number = Decimal(text)
    except InvalidOperation:  # the exponent has 19 digits or more
        mantissa, _, exponent = text.lower().partition("e")
        number = Decimal(mantissa)
        is_large, is_small = exponent[0] != "-", exponent[0] == "-"
    else:
        is_large, is_small = number.adjusted() > 20, number.adjusted() < -20
    if not number or is_small:
        return None if number else 0
    if is_large:  # beyond any range, and perhaps too long to write out
        return 10**21 if number > 0 else -(10**21)
    return int(number) if number == number.to_integral_value() else None


def _without_thousands(words: pa.Array, marks: Marks) -> pa.Array:
    if not marks.thousands:
        return words
    grouped = _matches(words, marks.grouped)
    plain = pc.replace_substring(words, marks.thousands, "")
    return pc.if_else(from_numpy(grouped, pa.bool_()), plain, words)


def _not_a_number(text: str, marks: Marks) -> tuple[str, str, str]:
    if re.match(INFINITE, text):
        return "not_finite", f"expected a finite number, got {text}", text
    detail = "expected a number"
    if marks.decimal == "." and re.fullmatch(r"[+-]?[0-9.]*,[0-9]+", text):
        detail = NO_COMMA
    return "not_a_number", detail, text


def _missing(cells: pa.Array) -> Mask:
    return ~validity(cells) | _one_of(cells, ("", *NUMBER_NULLS))


def _one_of(cells: pa.Array, words: tuple[str, ...]) -> Mask:
    return mask_of(pc.is_in(cells, value_set=from_strings(list(words))))


def _matches(cells: pa.Array, pattern: str) -> Mask:
    return mask_of(pc.match_substring_regex(cells, pattern))
