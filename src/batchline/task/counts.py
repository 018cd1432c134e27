"""Count what a job has stored, for its metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from batchline.constants import NO_VERSION
from batchline.db.cruds import versions
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.errors import BatchlineError
from batchline.metrics import FAILED, FAILURES, ITEMS, ROWS_PREDICTED, SUCCEEDED, UNKNOWN_MODEL


def stored(results: Sequence[VersionResults], names: Mapping[int, str]) -> None:
    """Count the results of a batch.

    Args:
        names: the models of the versions. That of `NO_VERSION` is not counted by its name, since
            clients of the database may write any.
    """
    for each in results:
        if each.predictions or each.failures:
            is_known = each.model_id != NO_VERSION
            model = names[each.model_id] if is_known else UNKNOWN_MODEL
            ITEMS.add(model, SUCCEEDED, count=len(each.predictions))
            ITEMS.add(model, FAILED, count=len(each.failures))
        for code, count in Counter(failure.code for failure in each.failures.values()).items():
            FAILURES.add(code, count=count)


def predicted(model: str, rows: int) -> None:
    """Count rows of a model that is known."""
    ROWS_PREDICTED.add(model, count=rows)


def ended_a_process(database: Database, item_ids: Sequence[int], code: str) -> None:
    """Count items that failed since they have ended a process, or a call that did not end."""
    names: Sequence[str] = []
    with suppress(BatchlineError), database.read() as connection:
        names = versions.models_of(connection, item_ids)
    unknown = [UNKNOWN_MODEL] * (len(item_ids) - len(names))
    for model, count in Counter([*names, *unknown]).items():
        ITEMS.add(model, FAILED, count=count)
    if item_ids:
        FAILURES.add(code, count=len(item_ids))
