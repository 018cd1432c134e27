"""The number of items that the next batch claims. Pure: the caller measures the seconds."""

from batchline.constants import BATCH_SECONDS, CLAIM_FIRST_ITEMS, CLAIM_MAX_ITEMS


class Pace:
    """Batches of a lane grow while they are fast and shrink if they are slow.

    With a slow model, small batches share the backlog evenly among jobs, let a job stop soon, and
    lose little work when a job dies. A single request waits for no more than a batch of an upload.

    Each lane has a size of its own, because its items may be of slower models.

    Args:
        first: items of the first batch of a lane.
        most: the largest number of items of a batch.
    """

    def __init__(self, first: int = CLAIM_FIRST_ITEMS, most: int = CLAIM_MAX_ITEMS) -> None:
        self._first = first
        self._most = most
        self._items: dict[int | None, int] = {}

    def items(self, lane: int | None) -> int:
        """Return the number of items for the next batch of a lane, or of a backfill without one."""
        return self._items.get(lane, self._first)

    def record(self, lane: int | None, items: int, seconds: float) -> None:
        """Adjust the size to a batch that predicted this many items in this many seconds.

        A batch that found fewer items than it could claim does not make the next one larger.
        """
        size = self.items(lane)
        if seconds > 2 * BATCH_SECONDS:
            self._items[lane] = max(1, min(size, items) // 2)
        elif seconds < BATCH_SECONDS / 2 and items >= size:
            self._items[lane] = min(self._most, 2 * size)
