"""Outputs of bfloat16, a type that numpy does not have, as float32.

A bfloat16 is the upper half of a float32, so the conversion is exact.
"""

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnxruntime as ort

from batchline.ml.rows import Tensor

BFLOAT16 = "tensor(bfloat16)"


def run(
    session: ort.InferenceSession,
    names: Sequence[str],
    feeds: Mapping[str, Tensor],
    options: ort.RunOptions | None,
) -> list[Any]:
    """Call a model without string inputs, which ONNX Runtime does not take in this way."""
    values = {name: ort.OrtValue.ortvalue_from_numpy(feed) for name, feed in feeds.items()}
    outputs = session.run_with_ort_values(list(names), values, options)
    return [_to_numpy(output) for output in outputs]


def _to_numpy(output: ort.OrtValue) -> Any:
    if output.data_type() != BFLOAT16:
        return output.numpy()
    shape = output.shape()
    if not prod(shape):
        return np.empty(shape, np.float32)
    halves = (ctypes.c_uint16 * prod(shape)).from_address(output.data_ptr())
    bits = np.frombuffer(halves, np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).reshape(shape)
