"""The results of a batch while it is predicted. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from batchline.errors import Failure, TimedOut
from batchline.ml.prediction_texts import Result, RowResults


class BatchResults:
    """Results of rows by their place in the batch.

    Args:
        row_counts: the number of rows of each item.

    Attributes:
        size: characters of the results so far.
        late: the places of all rows of items with a row whose call took too long.
    """

    def __init__(self, row_counts: Sequence[int]) -> None:
        self.size = 0
        self.late: set[int] = set()
        self._ends = list(accumulate(row_counts, initial=0))
        self._results: list[Result | None] = [None] * self._ends[-1]
        self._labels: list[str | None] = [None] * self._ends[-1]
        self._has_labels = False

    @property
    def all(self) -> RowResults:
        """Return one result for each row. It is None if the row was left out."""
        return RowResults(self._results, self._labels if self._has_labels else None)

    @property
    def has_first_item(self) -> bool:
        """Whether all rows of the first item have a result."""
        return None not in self._results[: self._ends[1]]

    def put(self, places: Sequence[int], found: RowResults) -> None:
        """Keep the results of rows at these places."""
        _put(self._results, places, found.results)
        if found.labels is not None:
            _put(self._labels, places, found.labels)
            self._has_labels = True
        texts = [each for each in found.results if type(each) is str]
        self.size += sum(map(len, texts))
        if len(texts) < len(found.results):
            self._fail_late_items(places, found.results)

    def _fail_late_items(self, places: Sequence[int], results: Sequence[Result | None]) -> None:
        for place, result in zip(places, results, strict=True):
            if type(result) is Failure and result.code == TimedOut.code:
                self._fail_item_at(place, result)

    def _fail_item_at(self, place: int, failure: Failure) -> None:
        if place in self.late:
            return
        item = bisect_right(self._ends, place)
        rows = range(self._ends[item - 1], self._ends[item])
        self.late.update(rows)
        self._results[rows.start : rows.stop] = [failure] * len(rows)


def _put(all_values: list[Any], places: Sequence[int], values: Sequence[Any]) -> None:
    if isinstance(places, range):
        all_values[places.start : places.stop] = values
        return
    for place, value in zip(places, values, strict=True):
        all_values[place] = value
