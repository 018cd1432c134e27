"""Lanes: which pending items are claimed next.

Lower lanes come first, claim by claim. A lane that had `CLAIMS_IN_A_ROW` claims leaves the next one
to a higher lane, so that no lane waits for the end of the others.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchline.constants import BEFORE_ALL_IDS, CLAIMS_IN_A_ROW
from batchline.db.cruds import pending
from batchline.db.models import Record
from batchline.db.scope import IdRange, Scope


@dataclass(frozen=True, slots=True)
class LaneProgress:
    """How far a run is with a lane.

    Args:
        after: the next claim begins above this id. Only if nothing is free there, it begins below.
        sparse: few ids of the last claim were pending, so the next claim looks up the id of its
            last pending item. Otherwise it covers a number of ids, which is faster if most of them
            are pending.
        in_a_row: claims since a higher lane had one.
    """

    after: int = BEFORE_ALL_IDS
    sparse: bool = False
    in_a_row: int = 0

    @property
    def yields(self) -> bool:
        """Whether the next claim is for a higher lane, if one has free items."""
        return self.in_a_row >= CLAIMS_IN_A_ROW


NEW_LANE = LaneProgress()


def next_range(
    connection: Connection,
    max_items: Callable[[int], int],
    known: Mapping[int, LaneProgress],
    taken: Sequence[Record],
) -> tuple[Scope, IdRange] | None:
    """Return the lane that is next and its next free ids, or None if nothing is free.

    The caller holds the claim lock, and claims the ids in the same transaction.

    Args:
        max_items: the size of a claim, by lane.
        known: how far the run is with lanes.
        taken: all claims of pending items.
    """
    found = _next_free(connection, known, taken)
    if found is None:
        return None
    lane, first = found.lane, found.first
    if known.get(lane, NEW_LANE).sparse:
        last = pending.nth(connection, lane, first, max_items(lane))
    else:
        last = first + max_items(lane) - 1
    others = (claim.first_id - 1 for claim in _covering(taken, lane))
    ends = [last, pending.last(connection, lane), *others]
    last = min((end for end in ends if end is not None and end >= first), default=first)
    return Scope(lane=lane), IdRange(first, last)


@dataclass(frozen=True, slots=True)
class _Free:
    """A lane, and its first free id."""

    lane: int
    first: int


def _next_free(
    connection: Connection, known: Mapping[int, LaneProgress], taken: Sequence[Record]
) -> _Free | None:
    """Return the lane that is next, or None if nothing is free."""
    waiting: _Free | None = None
    for lane in _pending_lanes(connection, known):
        progress = known.get(lane, NEW_LANE)
        first = _first_free(connection, lane, progress.after, _covering(taken, lane))
        if first is None:
            continue
        free = _Free(lane, first)
        if not progress.yields:
            return free
        waiting = waiting or free
    return waiting


def _pending_lanes(connection: Connection, known: Collection[int]) -> Iterator[int]:
    """Return the lanes that may have pending items, lowest first.

    A probe for the lanes between known ones does not pass the index entries of the items that this
    run has predicted: until the database cleans up, they are still there.
    """
    above: int | None = None
    for below in [*sorted(known), None]:
        while (lane := pending.next_lane(connection, above, below)) is not None:
            yield lane
            above = lane
        if below is not None:
            yield below
            above = below


def _covering(taken: Sequence[Record], lane: int) -> list[Record]:
    """Return the claims that cover items of this lane."""
    return [claim for claim in taken if claim.lane is None or claim.lane == lane]


def _first_free(
    connection: Connection, lane: int, after: int, taken: Sequence[Record]
) -> int | None:
    """Return the first pending id above `after` outside all claims, else the first below.

    It costs a probe per claim.
    """
    found = _first_free_above(connection, lane, after, taken)
    if found is None and after != BEFORE_ALL_IDS:
        return _first_free_above(connection, lane, BEFORE_ALL_IDS, taken)
    return found


def _first_free_above(
    connection: Connection, lane: int, after: int, taken: Sequence[Record]
) -> int | None:
    while (first := pending.first(connection, lane, after)) is not None:
        covering = next((c for c in taken if c.first_id <= first <= c.last_id), None)
        if covering is None:
            return first
        after = covering.last_id
    return None
