"""How many rows one call of a model takes. Pure: the API reads it and never loads a model."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from batchline.constants import CALL_MAX_BYTES, CALL_MAX_ROWS


@dataclass(frozen=True, slots=True)
class Batching:
    """How many rows one call takes, and why.

    Args:
        size: rows in each call, None for any number; calls with fewer rows are filled up.
        axis: whether the tensors have an axis for rows; where they have none, `size` is 1.
        row_bytes: what a row's tensors take, in and out.
        difference: the largest that was measured between a row's numbers alone and in company; None
            where they had another label or shape.
        reason: why the rows are not batched freely; "" if they are.
    """

    size: int | None = None
    axis: bool = True
    row_bytes: int = 1
    difference: float | None = 0.0
    reason: str = ""

    @property
    def call_rows(self) -> int:
        """How many rows one call takes so that its tensors fit into the memory."""
        return self.size or max(1, min(CALL_MAX_ROWS, CALL_MAX_BYTES // self.row_bytes))

    @property
    def verdict(self) -> str:
        """In a word or two: `batched`, `alone`, or `batches of 3`."""
        if self.size is None:
            return "batched"
        return "alone" if self.size == 1 else f"batches of {self.size}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(**stored)
