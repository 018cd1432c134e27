"""The number of items that the next batch claims. Pure: the caller measures the seconds."""

from batchline.constants import BATCH_SECONDS, CLAIM_FIRST_ITEMS, CLAIM_MAX_ITEMS


class Pace:
    """Batches grow while they are fast and shrink if they are slow.

    With a slow model, small batches share the backlog evenly among jobs, let a job stop soon, and
    lose little work when a job dies.

    Args:
        first: items of the first batch.
        most: the largest number of items of a batch.
    """

    def __init__(self, first: int = CLAIM_FIRST_ITEMS, most: int = CLAIM_MAX_ITEMS) -> None:
        self.items = first
        self._most = most

    def record(self, items: int, seconds: float) -> None:
        """Adjust `items` to a batch that predicted this many items in this many seconds.

        A batch that found fewer items than it could claim does not make the next one larger.
        """
        if seconds > 2 * BATCH_SECONDS:
            self.items = max(1, min(self.items, items) // 2)
        elif seconds < BATCH_SECONDS / 2 and items >= self.items:
            self.items = min(self._most, 2 * self.items)
