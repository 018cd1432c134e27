"""The items that failed in a run: how many with each code, and which ones for example."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog

from batchline.constants import LOGGED_IDS
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.errors import BatchlineError, Failure

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """The items that failed with one code.

    Args:
        item_ids: the lowest ones, at most `LOGGED_IDS`.
        cause: of one of them, for the log.
    """

    count: int
    item_ids: tuple[int, ...]
    cause: str = ""

    @classmethod
    def of(cls, item_ids: Sequence[int], cause: str = "") -> Self:
        return cls(len(item_ids), tuple(sorted(item_ids)[:LOGGED_IDS]), cause)

    def __add__(self, other: "Failed") -> "Failed":
        item_ids = sorted(self.item_ids + other.item_ids)[:LOGGED_IDS]
        return Failed(self.count + other.count, tuple(item_ids), self.cause or other.cause)


Failures = Mapping[str, Failed]
"""By code."""


def of(failures: Mapping[int, Failure]) -> Failures:
    """Return the failures of these items."""
    found: dict[str, list[int]] = {}
    for item_id, failure in failures.items():
        found.setdefault(failure.code, []).append(item_id)
    return {code: Failed.of(ids, failures[ids[0]].cause) for code, ids in found.items()}


def joined(all_failures: Iterable[Failures]) -> Failures:
    """Return the failures of several batches together."""
    found: dict[str, Failed] = {}
    for each in all_failures:
        for code, failed in each.items():
            found[code] = found[code] + failed if code in found else failed
    return found


def log_each(database: Database, found: Failures) -> None:
    """Log a line for each code, with the requests of its items.

    It has no message of a failure, which may quote a row. `batchline failures` shows those.
    """
    for code, failed in found.items():
        more: dict[str, Any] = {"cause": failed.cause} if failed.cause else {}
        if request_ids := _request_ids(database, failed.item_ids):
            more["request_ids"] = request_ids
        log.warning(
            "items failed", code=code, items=failed.count, item_ids=list(failed.item_ids), **more
        )


def _request_ids(database: Database, item_ids: tuple[int, ...]) -> list[str]:
    """Return the ids of the requests that registered these items, unless the database fails."""
    try:
        with database.read() as connection:
            return items.request_ids(connection, item_ids)
    except BatchlineError:
        return []
