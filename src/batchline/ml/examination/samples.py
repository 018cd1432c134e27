"""Rows to try a model on: made up from its inputs, or given by the user."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from math import prod
from typing import Any

import numpy as np
import orjson

from batchline.errors import ConfigurationError
from batchline.ml.data_loader import load_batch
from batchline.ml.inputs import FLOATS, Input
from batchline.ml.rows import RowTensors, to_tensor
from batchline.ml.signature import Signature

SAMPLES = 12


class Values(Enum):
    """How the values of made-up rows are chosen."""

    RANDOM = auto()
    BINARY = auto()  # integers of 0 and 1, for vocabularies of two
    EQUAL = auto()  # all of a row, either 0 or 1


SAMPLES_MAX_VALUES = 2_000_000


MIN_ROWS = 2
"""Rows that it takes to see whether they influence each other."""


SIZES = (8, 16, 3, 32, 64, 224, 1, 512)
"""Sizes to try for dynamic dimensions, until the model accepts the rows."""


TABULAR_VALUES = 64
"""Rows of more integers than this are most likely ids, which are never negative."""


WORDS = ("a", "red", "house", "the quick brown fox", "2026-01-31", "", "12.5", "état")


def made_up(inputs: Sequence[Input]) -> Iterator[list[RowTensors]]:
    """Return rows of several scales for each size that dynamic dimensions may have.

    There are several sets of rows for each size, the most telling one first.
    """
    free = any(type(size) is str for each in inputs for size in each.shape)
    for size in SIZES if free else SIZES[:1]:
        yield [_rows(inputs, size, values) for values in Values]


def _rows(inputs: Sequence[Input], size: int, values: Values) -> RowTensors:
    tensors, once = {}, {}
    shapes = [[s if type(s) is int else size for s in each.shape] for each in inputs]
    count = max(MIN_ROWS, min(SAMPLES, SAMPLES_MAX_VALUES // max(map(prod, shapes))))
    for each, shape in zip(inputs, shapes, strict=True):
        random = np.random.default_rng(size)
        rows = [_values(each, place, prod(shape), random, values) for place in range(count)]
        if each.per_item:
            once[each.name] = to_tensor(rows[1], each, *shape)
        else:
            tensors[each.name] = to_tensor(rows, each, count, *shape)
    return RowTensors(tensors, once)


def _values(of: Input, place: int, count: int, random: np.random.Generator, values: Values) -> Any:
    """Return the values of one row: all zeros, all ones, then random ones."""
    if of.dtype == "str":
        return [WORDS[(place * 3 + n) % len(WORDS)] for n in range(count)]
    if of.dtype == "bool":
        return (np.arange(count) + place) % 2 == 0
    if values is Values.EQUAL or place < MIN_ROWS:
        return np.full(count, place % 2)
    if of.dtype not in FLOATS:
        if values is Values.BINARY:
            return random.integers(2, size=count)
        is_signed = not of.dtype.startswith("u") and count <= TABULAR_VALUES
        return random.integers(-10 if is_signed and place % 3 == 0 else 0, 10, size=count)
    return random.normal(scale=10.0 ** (place % 3), size=count)


def other_values(rows: RowTensors, inputs: Sequence[Input]) -> Iterator[RowTensors]:
    """Return the rows with other values of the per-item inputs, in the same shapes."""
    if rows.once:
        for place in (0, 2, 3):
            once = dict(rows.once)
            for each in inputs:
                if each.per_item:
                    shape = rows.once[each.name].shape
                    random = np.random.default_rng(place)
                    values = _values(each, place, prod(shape), random, Values.RANDOM)
                    once[each.name] = to_tensor(values, each, *shape)
            yield RowTensors(rows.tensors, once)


def given(text: bytes, signature: Signature, name: str) -> RowTensors:
    """Return the rows of a sample file: data as in `POST /predict`, or one such object per line.

    Raises:
        ConfigurationError: the file cannot be parsed, or the model does not accept its rows.
    """
    try:
        items = [_data(text)]
    except ValueError:
        try:
            items = [_data(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise _refused(name, f"it is not JSON: {error}") from error
    texts = {index: orjson.dumps(item) for index, item in enumerate(items)}
    batch = load_batch(texts, signature)
    for index, failure in batch.failures.items():
        raise _refused(name, f"item {index}: {failure.detail}")
    if not batch.parts:
        raise _refused(name, "it has no rows")
    largest = max(batch.parts, key=lambda part: len(part.rows))
    return largest.rows


def _data(text: bytes) -> Any:
    parsed = orjson.loads(text)
    if isinstance(parsed, dict) and "data" in parsed:
        return parsed["data"]
    return parsed


def _refused(name: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the sample file {name} cannot be used: {problem}",
        hint='write a request\'s data, [[…], …] or {"data": …}, or one such object per line',
    )
