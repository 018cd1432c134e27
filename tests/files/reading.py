"""Reads files as the command does, and returns plain Python values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchline.files import Kind, ReadOptions, open_source
from batchline.files.blocks import RowError
from batchline.files.source import Source

FLOAT, INTEGER, BOOLEAN, TEXT = Kind("float32"), Kind("int32"), Kind("bool"), Kind("str")


@dataclass
class Read:
    """All rows of a source. `kept` has only those without errors."""

    source: Source
    values: dict[str, list[Any]]
    kept: dict[str, list[Any]]
    errors: list[RowError] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    @property
    def places(self) -> list[tuple[int | None, str, str]]:
        return [(error.line, error.code, error.column) for error in self.errors]


def read(*paths: Path | str, options: ReadOptions | None = None, **features: Kind) -> Read:
    return read_features([str(path) for path in paths], features, options)


def read_features(
    paths: list[str], features: Mapping[str, Kind], options: ReadOptions | None = None
) -> Read:
    source = open_source(paths, options)
    schema = source.check(features)
    found = Read(source, {name: [] for name in features}, {name: [] for name in schema.names})
    rows = 0
    for part in source.parts():
        for block in part.blocks(features):
            rows += block.rows
            for name, array in block.features.items():
                assert array.type == features[name].arrow_type
                assert len(array) == block.rows
                found.values[name] += array.to_pylist()
            for name, array in block.kept.select(block.good).table(schema).to_pydict().items():
                found.kept[name] += array
            found.errors += [block.errors[row] for row in sorted(block.errors)]
            found.lines += [] if block.lines is None else block.lines.tolist()
    assert source.is_read
    assert source.rows == rows
    return found


def file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
