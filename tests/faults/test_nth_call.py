"""The first, the second, the third … call to the database fails, until a whole run passes.

In the short form, the calls of odd numbers kill the process, and those of even numbers fail.
"""

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from batchline.db.database import Database
from batchline.task.run import Run
from tests import models
from tests.faults import load, nth_call
from tests.faults.conftest import Figures

MOST_POINTS = 100
ITEMS = 3
SHORT_FIRST = {"killed": 1, "broken": 2}
"""The first call of the short form, by fault."""


class Points:
    """One database, on which one operation fails at one point after the other."""

    def __init__(
        self, database: Database, url: str, folder: Path, operation: str, fault: str
    ) -> None:
        self._database, self._url = database, url
        self._operation, self._fault = operation, fault
        self._model = models.doubling(folder / "doubling.onnx")
        self._acknowledgements = folder / "acknowledged.json"
        self._numbers = itertools.count(1)
        self._job = nth_call.make_job(database, self._model)
        self.acknowledged: dict[str, int] = {}

    def ends(self, points: Iterable[int]) -> Iterator[int]:
        """How the process ended, for each of these points at which it failed."""
        for point in points:
            end = self._fail_at(point)
            assert end != nth_call.BUG
            assert load.audit(self._database, self.acknowledged) == load.Audit()
            if end == nth_call.PASSED:
                return
            yield end
        raise AssertionError(f"{MOST_POINTS} points were not enough")

    def _fail_at(self, point: int) -> int:
        numbers = list(itertools.islice(self._numbers, ITEMS))
        if self._operation != "register":
            self.acknowledged |= load.store(self._database, numbers)
        self._acknowledgements.unlink(missing_ok=True)
        end = nth_call.run(
            self._operation,
            self._fault,
            point,
            url=self._url,
            model=self._model,
            numbers=tuple(numbers),
            acknowledgements=self._acknowledgements,
        )
        if self._operation == "register":
            self._register_again(numbers)
        self._predict_the_rest()
        return end

    def _register_again(self, numbers: list[int]) -> None:
        """As a client does that got no answer; an answer that it got must have been right."""
        again = asyncio.run(nth_call.register_all(self._database, numbers))
        if self._acknowledgements.exists():
            assert json.loads(self._acknowledgements.read_text()) == again
        self.acknowledged |= again

    def _predict_the_rest(self) -> None:
        with self._database.write() as connection:
            connection.exec_driver_sql("UPDATE claims SET expires_at = '2020-01-01 00:00:00'")
        Run(self._job, 1, lambda outcome: None).execute()


@pytest.mark.parametrize("fault", SHORT_FIRST)
@pytest.mark.parametrize("operation", ["register", "claim", "store"])
def test_whichever_call_fails_nothing_is_lost_doubled_or_torn(
    operation: str,
    fault: str,
    database: Database,
    database_url: str,
    database_kind: str,
    tmp_path: Path,
    long: bool,
    figures: Figures,
) -> None:
    numbers = range(1, MOST_POINTS) if long else range(SHORT_FIRST[fault], MOST_POINTS, 2)
    points = Points(database, database_url, tmp_path, operation, fault)
    ends = Counter(points.ends(numbers))
    if fault == "killed":
        assert set(ends) == {-signal.SIGKILL}
    figures(
        f"n-th call {fault}",
        f"{database_kind}, {operation}",
        points=ends.total(),
        torn=0,
        reported=ends[nth_call.REFUSED],
        mended_inside=ends[nth_call.MENDED],
    )
