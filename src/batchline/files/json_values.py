"""Values of JSON, in which numbers stay as they are written."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from batchline.constants import JSON_MAX_DEPTH

OPENING, CLOSING = 123, 125
"""Braces. Brackets have codes that are smaller by 32."""
SHORT = 2 * JSON_MAX_DEPTH
"""A line of so many bytes at most is not nested too deeply."""

_strings = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


class Number(str):
    """A number as it is written. It becomes a value of the asked type only."""

    __slots__ = ()


class TooDeep(ValueError):
    """A line is nested too deeply."""

    def __init__(self) -> None:
        super().__init__(f"the line is nested more than {JSON_MAX_DEPTH} levels deep")


def is_too_deep(line: bytes) -> bool:
    """Whether a line is nested more deeply than lines may be."""
    if line.count(b"[") + line.count(b"{") <= JSON_MAX_DEPTH:
        return False
    braces = np.frombuffer(_strings.sub(b"", line), np.uint8) | 32
    braces = braces[(braces == OPENING) | (braces == CLOSING)]
    steps = np.where(braces == OPENING, 1, -1)
    return bool(steps.cumsum().max(initial=0) > JSON_MAX_DEPTH)


def reject(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def load(text: str, constant: Callable[[str], Any] = reject) -> Any:
    """Parse JSON. Objects become tuples of pairs.

    Args:
        constant: returns the value for NaN and infinity, which JSON does not have.

    Raises:
        TooDeep: it is nested too deeply.
        ValueError: it is not JSON.
    """
    if len(text) > SHORT and is_too_deep(text.encode()):
        raise TooDeep
    return json.loads(
        text,
        parse_float=Number,
        parse_int=Number,
        parse_constant=constant,
        object_pairs_hook=tuple,
    )


def dump(value: Any) -> str:
    """Return a value that `load` has made as it was, or nearly so."""
    if type(value) is tuple:
        return "{" + ", ".join(f"{json.dumps(k)}: {dump(v)}" for k, v in value) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(dump, value)) + "]"
    return str(value) if type(value) is Number else json.dumps(value)
