"""Words for what is wrong with the columns of a file."""

from collections.abc import Sequence

from batchline.errors import Fault

SHOWN = 20
CLASH_HINT = "give the added column another name: --rename OLD=NEW, or name the columns to --keep"


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def repeated(path: str, columns: Sequence[str], name: str) -> Fault:
    places = [str(place) for place, each in enumerate(columns, 1) if each == name]
    detail = f"the columns {' and '.join(places)} are both named {name!r}"
    return Fault(path, "repeated_column", detail)
