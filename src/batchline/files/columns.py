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


def nearest(name: str, columns: Sequence[str], used: Collection[str]) -> str | None:
    """Return the nearest name that has no other use, whatever its case is, or None."""
    unused = (column for column in columns[:COMPARED] if column not in used)
    folded = {column.casefold().strip(): column for column in unused}
    near = get_close_matches(name.casefold().strip(), list(folded), 1)
    return folded[near[0]] if near else None


def missing(
    path: str,
    names: Sequence[str],
    columns: Sequence[str],
    used: Collection[str],
    *,
    what: str = "column",
    end: str = "",
    hint: str = "",
) -> list[Fault]:
    """Return one problem for all columns that are missing, with their nearest names, or none.

    Args:
        used: names that are not suggested.
        end: how the sentence goes on behind "missing".
        hint: what to do. "": rename or add the columns.
    """
    if not names:
        return []
    near = [nearest(name, columns, used) for name in names[:SHOWN]]
    each = [
        f"{name!r} (nearest: {found!r})" if found else repr(name)
        for name, found in zip(names, near, strict=False)
    ]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    these = f"{what} {each[0]} is" if len(names) == 1 else f"{what}s {', '.join(each)}{more} are"
    detail = f"the {these} missing{end}"
    if not all(near):
        only = f"only {what} is" if len(columns) == 1 else f"{what}s are"
        detail += f". The {only} {listed(columns)}"
    renamed = [f"rename {old!r} to {new!r}" for new, old in zip(names, near, strict=False) if old]
    added = [f"add {name!r}" for name, found in zip(names, near, strict=False) if not found]
    todo = f"{', '.join([*renamed, *added])}, or choose other {what}s with --columns"
    return [Fault(path, "missing_column", detail, hint or todo)]


def repeated(path: str, columns: Sequence[str], name: str, hint: str = "") -> Fault:
    *places, last = (str(place) for place, each in enumerate(columns, 1) if each == name)
    every = "both" if len(places) == 1 else "all"
    detail = f"the columns {', '.join(places)} and {last} are {every} named {name!r}"
    return Fault(path, "repeated_column", detail, hint)
