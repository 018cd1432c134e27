"""Which dimension of the inputs is the batch dimension, as far as the file says it. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ConfigurationError
from batchline.ml.inputs import Input

NO_AXIS = "none"
"""The value of `--rows-axis` if one input is one row."""

ROW_MAX_VALUES = MAX_BODY_BYTES // len("0,")
"""Values that fit into a request, as their shortest JSON."""

BATCH_WORDS = {"n", "b", "bs", "row", "rows", "nrows", "numrows"}
BATCH_WORDS |= {"samples", "nsamples", "numsamples", "examples", "numexamples"}
"""Names of a batch dimension, in letters only. Any name with `batch` in it is one, too."""

UNNAMED = {"", "?", "none"}


class Origin(StrEnum):
    """How a batch dimension is known."""

    TOLD = "told"  # by --rows-axis
    NAMED = "named"  # by the file
    SHOWN = "shown"  # only if a trial confirms it


@dataclass(frozen=True, slots=True)
class BatchDimension:
    """One reading of the inputs: `size` rows per call (None: any number), if there is an axis.

    `name` is the name of the batch dimension in the file, or "".
    """

    inputs: tuple[Input, ...]
    size: int | None
    axis: bool
    name: str = ""
    origin: Origin = Origin.SHOWN

    @property
    def has_dynamic_once(self) -> bool:
        """Whether an input that is given once per item has a dynamic first dimension."""
        once = [each for each in self.inputs if each.per_item and each.shape]
        return any(type(each.shape[0]) is str for each in once)

    def __str__(self) -> str:
        first = next(each for each in self.inputs if not each.per_item)
        name = f" ({self.name})" if self.name else ""
        return f"axis {first.axis}{name} of the input {first.name}"


Axes = list[int | None]
"""For each input, where its batch dimension is. None: it is given once per item."""


def batch_dimensions(
    declared: Sequence[Any], dtypes: dict[str, str], name: str, rows_axis: str | None = None
) -> Iterator[BatchDimension]:
    """Return the readings to try, the best first.

    A dimension that is named like a batch is believed wherever it stands. Otherwise a dynamic first
    dimension may be one. Inputs without the batch dimension are given once per item. If all sizes
    are fixed, the first dimension may be a batch of a fixed size, and if not, an input is one row.

    Args:
        rows_axis: the user's `--rows-axis`: number or name of the batch dimension, or `none`.

    Raises:
        ConfigurationError: an input has a type or a shape that no row can have, or the model has no
            such axis.
    """
    _check_inputs(declared, dtypes, name)
    if rows_axis == NO_AXIS:
        yield _whole(declared, dtypes, Origin.TOLD)
    elif rows_axis is not None:
        yield _reading(declared, dtypes, _told(declared, rows_axis), Origin.TOLD)
    elif named := _named(declared):
        yield _reading(declared, dtypes, named, Origin.NAMED)
    elif dynamic := _dynamic(declared):
        yield _reading(declared, dtypes, dynamic, Origin.SHOWN)
    else:
        sizes = {each.shape[0] for each in declared if each.shape}
        if len(sizes) == 1 and sizes.pop() > 0:
            first: Axes = [0 if each.shape else None for each in declared]
            yield _reading(declared, dtypes, first, Origin.SHOWN)
        yield _whole(declared, dtypes, Origin.SHOWN)


def _told(declared: Sequence[Any], rows_axis: str) -> Axes:
    """Return the axes of a dimension that the user gave by its name or its number."""
    names = [list(map(_name, each.shape)) for each in declared]
    if any(rows_axis in each for each in names):
        return [each.index(rows_axis) if rows_axis in each else None for each in names]
    if not rows_axis.isdecimal() or all(len(each) <= int(rows_axis) for each in names):
        shapes = ", ".join(f"{each.name} {list(each.shape)}" for each in declared)
        raise ConfigurationError(
            f"--rows-axis must be a number or a name of an axis, or none, got {rows_axis[:80]}",
            hint=f"name an axis of one of the inputs: {shapes}",
        )
    axis = int(rows_axis)
    first = next(each[axis] for each in names if len(each) > axis)
    same = {first, ""} if first else {""}
    return [
        axis if len(each) > axis and each[axis] in same and _agrees(declared, place, axis) else None
        for place, each in enumerate(names)
    ]


def _agrees(declared: Sequence[Any], place: int, axis: int) -> bool:
    """Whether this axis is dynamic, or as long as the first input's."""
    size = declared[place].shape[axis]
    first = next(each.shape[axis] for each in declared if len(each.shape) > axis)
    return size == first or not isinstance(size, int)


def _named(declared: Sequence[Any]) -> Axes | None:
    """Return the axes of the dimension that the file names like a batch, or None."""
    names = [list(map(_name, each.shape)) for each in declared]
    found = dict.fromkeys(name for each in names for name in each if _is_batch_name(name))
    for choice in (
        [name for name in found if re.sub(r"[^a-z]", "", name.lower()) in ("batch", "batchsize")],
        [name for name in found if "batch" in name.lower()],
        list(found),
        [name for name in found if any(each[:1] == [name] for each in names)],
    ):
        if len(choice) == 1:
            return [each.index(choice[0]) if choice[0] in each else None for each in names]
    return None


def _is_batch_name(name: str) -> bool:
    letters = re.sub(r"[^a-z]", "", name.lower())
    return "batch" in letters or letters in BATCH_WORDS


def _dynamic(declared: Sequence[Any]) -> Axes | None:
    """Return the axes if dynamic first dimensions are the batch dimension, or None.

    A name that also stands at a later place is that of another dimension, such as the length of a
    sequence, unless all first dimensions are like that.
    """
    names = [list(map(_name, each.shape)) for each in declared]
    later = {name for each in names for name in each[1:] if name}
    first = {
        each[0]
        for each, one in zip(names, declared, strict=True)
        if each and not isinstance(one.shape[0], int)
    }
    first = first - later or first
    axes: Axes = [
        0 if each and not isinstance(one.shape[0], int) and each[0] in first else None
        for each, one in zip(names, declared, strict=True)
    ]
    return axes if first else None


def _name(size: Any) -> str:
    name = "" if isinstance(size, int) else str(size or "")
    return "" if name.lower() in UNNAMED else name


def _check_inputs(declared: Sequence[Any], dtypes: dict[str, str], name: str) -> None:
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
        _check_size(each, name)


def _check_size(declared: Any, name: str) -> None:
    """Check that a row of this input has values, and no more than a request can hold."""
    sizes = [size for size in declared.shape[1:] if isinstance(size, int)]
    values = prod(sizes)
    if values == 0:
        raise ConfigurationError(
            f"a row of the input {declared.name} of {name} has no values, its shape is {sizes}",
            hint="export the model without this input, or with another shape",
        )
    if values > ROW_MAX_VALUES:
        raise ConfigurationError(
            f"a row of the input {declared.name} of {name} has {values} values, and a request can "
            f"hold at most {ROW_MAX_VALUES}",
            hint="export the model with a smaller input",
        )


def _reading(
    declared: Sequence[Any], dtypes: dict[str, str], axes: Axes, origin: Origin
) -> BatchDimension:
    pairs = list(zip(declared, axes, strict=True))
    inputs = tuple(_input(each, dtypes, axis) for each, axis in pairs)
    size = next(each.shape[axis] for each, axis in pairs if axis is not None)
    rows = size if isinstance(size, int) else None
    return BatchDimension(inputs, rows, True, _name(size), origin)


def _whole(declared: Sequence[Any], dtypes: dict[str, str], origin: Origin) -> BatchDimension:
    whole = tuple(Input(e.name, dtypes[e.type], tuple(map(_size, e.shape))) for e in declared)
    return BatchDimension(whole, 1, False, origin=origin)


def _input(declared: Any, dtypes: dict[str, str], axis: int | None) -> Input:
    shape = [_size(size) for place, size in enumerate(declared.shape) if place != axis]
    name, dtype = declared.name, dtypes[declared.type]
    if axis is None:
        return Input(name, dtype, tuple(shape), per_item=True)
    return Input(name, dtype, tuple(shape), axis=axis)


def _size(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size or "")
