"""An output that was not completed is continued, and is then as if nothing had happened."""

import gzip
from pathlib import Path

import pytest
from pyarrow import parquet

from batchline.files import WriteOptions, open_sink
from batchline.files.options import Format
from batchline.files.outputs import Mark, Work, work_folder
from tests.files.test_outputs import KEPT, NEW, PATHS, add, ids, names

BLOCK = 500


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchline.files.parquet_writer.PARQUET_GROUP_ROWS", 1000)
    monkeypatch.setattr("batchline.files.folder.FOLDER_FILE_BYTES", 5000)


def written(path: str, blocks: int, ends: list[int], options: WriteOptions | None = None) -> None:
    """Write blocks. At each of these ends the run is killed behind a few more rows."""
    folder = work_folder(path)
    assert folder is not None
    mark = Mark()
    for end in [*ends, blocks]:
        folder.mkdir(parents=True, exist_ok=True)
        sink = open_sink(path, KEPT, NEW, options, Work(folder, mark))
        for block in range(mark.rows // BLOCK, end):
            add(sink, block * BLOCK, BLOCK)
            mark = sink.mark() or mark
        if end == blocks:
            sink.commit(blocks * BLOCK)
            folder.rmdir()
        else:
            add(sink, end * BLOCK, BLOCK)
            sink.abort()


@pytest.mark.parametrize("name", PATHS)
def test_a_file_that_was_killed_twice_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    whole, killed = tmp_path / f"whole-{name}", tmp_path / f"killed-{name}"
    written(str(whole), 9, [])
    written(str(killed), 9, [4, 4, 7])
    if name.endswith("gz"):
        assert gzip.decompress(killed.read_bytes()) == gzip.decompress(whole.read_bytes())
    elif not name.endswith("zst"):
        assert killed.read_bytes() == whole.read_bytes()
    assert ids(killed) == list(range(9 * BLOCK))
    assert sorted(names(tmp_path)) == sorted([f"whole-{name}", f"killed-{name}"])


@pytest.mark.parametrize("format_", Format)
def test_a_folder_that_was_killed_has_the_same_files(tmp_path: Path, format_: Format) -> None:
    options = WriteOptions(format=format_)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    written(f"{whole}/", 12, [], options)
    written(f"{killed}/", 12, [1, 2, 5, 6, 9], options)
    assert len(names(whole)) > 3
    assert sorted(names(whole)) == sorted(names(killed))
    for name in names(whole):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert ids(killed) == list(range(12 * BLOCK))


def test_every_row_group_of_a_parquet_file_can_be_read_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    written(str(path), 7, [3, 5])
    found = parquet.ParquetFile(path)
    assert found.num_row_groups == 7
    firsts = [found.read_row_group(group)["id"][0].as_py() for group in range(7)]
    assert firsts == [group * BLOCK for group in range(7)]
