"""Words for what is wrong with the columns of a file."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from batchline.errors import Fault

SHOWN = 20
COMPARED = 1_000
"""Names that are compared with a missing one."""
CLASH_HINT = "give the added column another name: --rename OLD=NEW, or name the columns to --keep"


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def suggested(
    name: str, columns: Sequence[str], used: Collection[str], what: str = "columns"
) -> str:
    """Return the nearest name that has no other use, whatever its case is, or all names."""
    unused = (column for column in columns[:COMPARED] if column not in used)
    folded = {column.casefold().strip(): column for column in unused}
    near = get_close_matches(name.casefold().strip(), list(folded), 1)
    return f"Is it {folded[near[0]]!r}?" if near else f"The {what} are {listed(columns)}"


def repeated(path: str, columns: Sequence[str], name: str) -> Fault:
    places = [str(place) for place, each in enumerate(columns, 1) if each == name]
    detail = f"the columns {' and '.join(places)} are both named {name!r}"
    return Fault(path, "repeated_column", detail)
