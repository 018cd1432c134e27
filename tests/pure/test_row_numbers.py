"""A run in which a row is missing or comes twice is never completed, whatever the reason."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchline.file_errors import RunStopped
from batchline.files import open_sink, open_source
from batchline.files.blocks import Block
from batchline.scoring.local import LocalEngine
from batchline.scoring.scorer import Scored


class Nothing:
    """Predicts one column without a model."""

    kinds: dict[str, Any] = {}  # noqa: RUF012

    def score(self, block: Block, part: object) -> Scored:
        return Scored([pa.nulls(block.rows, pa.string())], {})


class Faulty:
    """A source whose parts do not give the blocks that they have."""

    def __init__(self, source: Any, blocks: Any) -> None:
        self._source, self._blocks = source, blocks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def parts(self) -> Iterator[Any]:
        for part in self._source.parts():
            found = self._blocks(list(part.blocks({})))
            yield type("Part", (), {**part_facts(part), "blocks": lambda *_, b=found: iter(b)})()


def part_facts(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in ("path", "rows", "first_row", "bytes_read")}


def shifted(blocks: list[Block]) -> list[Block]:
    return [replace(block, first_row=block.first_row + 1) for block in blocks]


@pytest.mark.parametrize("blocks", [lambda b: b * 2, lambda b: b[:0], shifted])
def test_each_row_of_the_input_must_come_once_and_in_its_place(tmp_path: Path, blocks: Any) -> None:
    path, target = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("a\n1\n2\n3\n")
    with open_source([str(path)]) as source:
        kept = source.check({})
        with open_sink(str(target), kept, pa.schema([("p", pa.string())])) as sink:
            engine = LocalEngine(Faulty(source, blocks), sink, Nothing(), threads=1)  # type: ignore[arg-type]
            with pytest.raises(RunStopped, match=r"in\.csv: row \d came instead of row \d"):
                engine.run()
    assert not target.exists()
