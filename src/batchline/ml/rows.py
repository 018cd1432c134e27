"""Rows as the model takes them: one tensor per input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchline.ml.inputs import Input

Tensor = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class RowTensors:
    """Rows that one call of the model may take together.

    `tensors` have the batch dimension first, and the same length. `once` are the per-item inputs.
    """

    tensors: Mapping[str, Tensor]
    once: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, part: slice | Sequence[int] | Tensor) -> "RowTensors":
        return RowTensors({name: tensor[part] for name, tensor in self.tensors.items()}, self.once)

    @property
    def nbytes(self) -> int:
        """Return the bytes of all tensors; of strings, those of the pointers."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def to_tensor(values: Any, of: Input, *shape: int) -> Tensor:
    """Return checked values, nested or in one flat list, as a tensor of this shape."""
    return np.array(values, dtype=object if of.dtype == "str" else of.dtype).reshape(shape)
