"""How many rows one call of a model takes. Pure: the API reads it and never loads a model."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from batchline.constants import CALL_MAX_BYTES, CALL_MAX_ROWS


@dataclass(frozen=True, slots=True)
class Batching:
    """How many rows one call takes, and why.

    Args:
        size: rows in each call, or None for any number. Calls with fewer rows are filled up.
        axis: whether the tensors have a batch dimension. Without one, `size` is 1.
        row_bytes: bytes of a row's tensors, inputs and outputs.
        difference: the largest difference between a row unbatched and batched, or None if its label
            or its shape changed.
        reason: why rows are not batched freely, or "" if they are.
    """

    size: int | None = None
    axis: bool = True
    row_bytes: int = 1
    difference: float | None = 0.0
    reason: str = ""

    @property
    def call_rows(self) -> int:
        """Return how many rows one call takes, so that its tensors fit into memory."""
        return self.size or max(1, min(CALL_MAX_ROWS, CALL_MAX_BYTES // self.row_bytes))

    @property
    def verdict(self) -> str:
        """Return the batching mode: `batched`, `one row per call` or `batches of 3`."""
        if self.size is None:
            return "batched"
        return "one row per call" if self.size == 1 else f"batches of {self.size}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(**stored)
