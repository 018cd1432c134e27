"""How many items a batch takes. Pure: how long one took is an argument."""

from batchline.constants import BATCH_SECONDS, CLAIM_FIRST_ITEMS, CLAIM_MAX_ITEMS


class Pace:
    """Batches grow as long as they are quick, and shrink where the model is slow.

    So a slow model's backlog is shared among jobs evenly, can be stopped soon, and loses little
    when a job dies.

    Args:
        first: items of the first batch.
        most: items that a batch takes at most.
    """

    def __init__(self, first: int = CLAIM_FIRST_ITEMS, most: int = CLAIM_MAX_ITEMS) -> None:
        self.items = first
        self._most = most

    def record(self, items: int, seconds: float) -> None:
        """A batch of so many items took so many seconds; it may have found fewer than it could."""
        if seconds > 2 * BATCH_SECONDS:
            self.items = max(1, min(self.items, items) // 2)
        elif seconds < BATCH_SECONDS / 2 and items >= self.items:
            self.items = min(self._most, 2 * self.items)
