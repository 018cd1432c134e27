"""Which dimension of the inputs is the batch dimension, as far as the file declares it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batchline.errors import ConfigurationError
from batchline.ml.inputs import Input


@dataclass(frozen=True, slots=True)
class BatchDimension:
    """One reading of the inputs: `size` rows per call (None: any number), if there is an axis."""

    inputs: tuple[Input, ...]
    size: int | None
    axis: bool


def batch_dimensions(
    declared: Sequence[Any], dtypes: dict[str, str], name: str
) -> Iterator[BatchDimension]:
    """Return the readings to try, the best first. The last one takes one row per call.

    A dynamic first dimension is the batch dimension. Inputs without one, next to others that have
    one, are given once per item. A fixed first dimension may be a batch of a fixed size.

    Raises:
        ConfigurationError: an input has a type that no row can have.
    """
    _check_types(declared, dtypes, name)
    free = [each for each in declared if each.shape and not isinstance(each.shape[0], int)]
    fixed = {each.shape[0] for each in declared if each.shape}
    if free:
        rows_axis = str(free[0].shape[0] or "")
        inputs = tuple(_input(each, dtypes, each in free, rows_axis) for each in declared)
        yield BatchDimension(inputs, None, True)
        return
    if len(fixed) == 1 and (size := fixed.pop()) > 0:
        inputs = tuple(_input(each, dtypes, bool(each.shape), "") for each in declared)
        yield BatchDimension(inputs, size, True)
    whole = tuple(Input(e.name, dtypes[e.type], tuple(map(_axis, e.shape))) for e in declared)
    yield BatchDimension(whole, 1, False)


def _check_types(declared: Sequence[Any], dtypes: dict[str, str], name: str) -> None:
    if not declared:
        raise ConfigurationError(
            f"{name} has no inputs", hint="export the model again with at least one input"
        )
    for each in declared:
        if each.type not in dtypes:
            raise ConfigurationError(
                f"the input {each.name} of {name} has the type {each.type}, which JSON cannot give",
                hint=f"export the model with tensors of {', '.join(sorted(set(dtypes.values())))}",
            )


def _input(declared: Any, dtypes: dict[str, str], has_rows: bool, rows_axis: str) -> Input:
    if has_rows:
        return Input(declared.name, dtypes[declared.type], tuple(map(_axis, declared.shape[1:])))
    # A batch dimension at another place has the size 1, since each call has one row.
    shape = (1 if rows_axis and size == rows_axis else _axis(size) for size in declared.shape)
    return Input(declared.name, dtypes[declared.type], tuple(shape), per_item=True)


def _axis(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size or "")
