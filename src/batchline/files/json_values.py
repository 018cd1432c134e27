"""Values of JSON, in which numbers stay as they are written."""

import json
from collections.abc import Callable
from typing import Any


class Number(str):
    """A number as it is written. It becomes a value of the asked type only."""

    __slots__ = ()


def reject(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def load(text: str, constant: Callable[[str], Any] = reject) -> Any:
    """Parse JSON. Objects become tuples of pairs.

    Args:
        constant: returns the value for NaN and infinity, which JSON does not have.

    Raises:
        ValueError, RecursionError: the text is not JSON, or too deeply nested.
    """
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
