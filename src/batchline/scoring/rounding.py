"""Integers that a model cannot tell apart, since its type of floats has not enough digits."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from batchline.files.kinds import Kind
from batchline.files.source import Source

NARROW = "float16", "float32"


def rounded_integers(source: Source, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Any, Any]]:
    """Return the first integer of each column that becomes another one: column, before, after.

    Only the first block of rows is read. Fractions are rounded, too, which is expected.
    """
    narrow = {n: kind for n, kind in kinds.items() if kind.dtype in NARROW and kind.width is None}
    wide = {name: replace(kind, dtype="float64") for name, kind in narrow.items()}
    block = next((b for part in source.parts() for b in part.blocks(wide)), None)
    if block is None or not narrow:
        return
    for name, kind in narrow.items():
        values = block.features[name].drop_null().to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            found = values.astype(kind.dtype).astype(np.float64)
        changed = (values == np.rint(values)) & (found != values) & np.isfinite(found)
        for place in np.flatnonzero(changed)[:1]:
            yield name, int(values[place]), int(found[place])
