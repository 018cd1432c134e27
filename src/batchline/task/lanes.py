"""How far a run is with each lane. Worker threads share it."""

import threading
from collections.abc import Mapping
from dataclasses import replace

from batchline.constants import SPARSE_SHARE
from batchline.db.claims import Claim
from batchline.db.lanes import NEW_LANE, LaneProgress


class Lanes:
    """The lanes of which a run has claimed items lately.

    Nothing depends on it but speed and the share of each lane: it says where the next claim begins
    to look.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: dict[int, LaneProgress] = {}

    def progress(self) -> Mapping[int, LaneProgress]:
        """Return a copy, by lane."""
        with self._lock:
            return dict(self._progress)

    def claimed(self, claim: Claim) -> None:
        """Note that a claim was taken. The lanes below it had their turn, or nothing free."""
        lane = claim.scope.lane
        if lane is None:
            return
        with self._lock:
            for lower in [each for each in self._progress if each < lane]:
                self._let_pass(lower)
            before = self._progress.get(lane, NEW_LANE)
            after = max(before.after, claim.last_id)
            self._progress[lane] = replace(before, after=after, in_a_row=before.in_a_row + 1)

    def _let_pass(self, lane: int) -> None:
        # A lane without free items is forgotten, so that claims do not look at it again and again.
        progress = self._progress.pop(lane)
        if progress.yields:
            self._progress[lane] = replace(progress, in_a_row=0)

    def predicted(self, claim: Claim, items: int) -> None:
        """Note how many items of a claim were pending."""
        lane = claim.scope.lane
        sparse = items < (claim.last_id - claim.first_id + 1) * SPARSE_SHARE
        with self._lock:
            if lane is not None and lane in self._progress:
                self._progress[lane] = replace(self._progress[lane], sparse=sparse)
