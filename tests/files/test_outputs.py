"""An output appears whole under its name, or not at all."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from batchline.file_errors import FormatUnknown, NotWritten
from batchline.files import Format, WriteOptions, open_sink, open_source
from batchline.files.folder import FolderSink
from batchline.files.outputs import check_is_no_input, check_place
from batchline.files.sink import Sink
from batchline.files.table_rows import TableRows
from tests.files.reading import file
from tests.files.rights import ordinary_user, public_folder
from tests.files.writing import copy

KEPT = pa.schema([("id", pa.int64())])
NEW = pa.schema([("p", pa.float32())])
PATHS = ["out.csv", "out.csv.gz", "out.csv.zst", "out.jsonl", "out.parquet"]


def rows(first: int, count: int) -> tuple[TableRows, list[pa.Array]]:
    numbers = pa.array(range(first, first + count), pa.int64())
    return TableRows(pa.RecordBatch.from_arrays([numbers], schema=KEPT)), [
        numbers.cast(pa.float32())
    ]


def add(sink: Sink | FolderSink, first: int = 0, count: int = 10) -> None:
    sink.write(sink.encode(*rows(first, count)))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def ids(path: Path | str) -> list[int]:
    with open_source([str(path)]) as source:
        schema = source.check({})
        blocks = [block for part in source.parts() for block in part.blocks({})]
    tables = [block.kept.table(schema).column("id").to_pylist() for block in blocks]
    return [int(number) for table in tables for number in table]


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
def test_a_file_appears_whole_after_the_number_of_rows_was_confirmed(
    tmp_path: Path, name: str
) -> None:
    path = file(tmp_path, name, "yesterday's")
    with open_sink(str(path), KEPT, NEW) as sink:
        add(sink, 0)
        add(sink, 10)
        assert path.read_text() == "yesterday's"
        sink.commit(20)
    assert ids(path) == list(range(20))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", PATHS)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = file(tmp_path, name, "yesterday's")
    with suppress(ZeroDivisionError), open_sink(str(path), KEPT, NEW) as sink:
        add(sink)
        raise ZeroDivisionError
    assert path.read_text() == "yesterday's"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", PATHS)
def test_another_number_of_rows_than_was_written_is_an_error(tmp_path: Path, name: str) -> None:
    with open_sink(str(tmp_path / name), KEPT, NEW) as sink:
        add(sink)
        with pytest.raises(NotWritten, match="10 rows of 11 were written"):
            sink.commit(11)
    assert names(tmp_path) == []


def test_a_killed_process_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from tests.files.test_outputs import KEPT, NEW, add
        from batchline.files import open_sink
        sink = open_sink(sys.argv[1], KEPT, NEW)
        for turn in range(100): add(sink, turn, 10_000)
        os.kill(os.getpid(), 9)"""
    path = file(tmp_path, "out.parquet", "yesterday's")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    assert path.read_text() == "yesterday's"
    left = [name for name in names(tmp_path) if name != "out.parquet"]
    assert all(name.startswith(".out.parquet.") for name in left)


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    for name in PATHS:
        with open_sink(str(tmp_path / name), KEPT, NEW) as sink:
            sink.commit(0)
        assert ids(tmp_path / name) == [] if name != "out.jsonl" else True
    assert (tmp_path / "out.csv").read_text() == "id,p\n"
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == b"id,p\n"


def test_the_rights_of_a_file_stay_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path = file(tmp_path, "real.csv", "old")
    path.chmod(0o640)
    (tmp_path / "link.csv").symlink_to(path)
    with open_sink(str(tmp_path / "link.csv"), KEPT, NEW) as sink:
        sink.commit(0)
    assert (tmp_path / "link.csv").is_symlink()
    assert path.read_text() == "id,p\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_input_can_be_replaced_by_its_output(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "id\n" + "1\n" * 2_000_000)
    assert copy(path, path) == 2_000_000
    assert path.read_text() == "id,label\n" + "1,new\n" * 2_000_000


@pytest.mark.parametrize("path", ["missing/out.csv", "file/out.csv"])
def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path: Path, path: str) -> None:
    file(tmp_path, "file", "")
    with pytest.raises(NotWritten, match=r"out\.csv cannot be written"):
        open_sink(str(tmp_path / path), KEPT, NEW)


def test_a_folder_without_the_right_to_write_is_an_error_at_once() -> None:
    with public_folder() as folder:
        folder.chmod(0o555)
        with ordinary_user(), pytest.raises(NotWritten, match="Permission denied"):
            open_sink(str(folder / "out.csv"), KEPT, NEW)


def test_a_name_that_does_not_show_the_format_needs_the_option(tmp_path: Path) -> None:
    with pytest.raises(FormatUnknown, match="out"):
        open_sink(str(tmp_path / "out"), KEPT, NEW)
    with open_sink(str(tmp_path / "out"), KEPT, NEW, WriteOptions(format=Format.CSV)) as sink:
        sink.commit(0)


def write_much(path: Path) -> None:
    with open_sink(str(path), KEPT, NEW) as sink:
        for turn in range(100):
            add(sink, turn * 10_000, 10_000)
        sink.commit(1_000_000)


@pytest.fixture
def limited_size() -> Iterator[int]:
    """Let no file of this process be larger, as if the disk were full."""
    import resource
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", PATHS)
def test_a_disk_that_is_full_leaves_the_old_file(
    tmp_path: Path, name: str, limited_size: int
) -> None:
    path = file(tmp_path, name, "yesterday's")
    with pytest.raises(NotWritten, match="cannot be written: File too large"):
        write_much(path)
    assert path.read_text() == "yesterday's"
    assert names(tmp_path) == [name]


def test_another_filesystem(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/out/a.csv", b"yesterday's")
    try:
        with open_sink("memory://out/a.csv", KEPT, NEW) as sink:
            add(sink)
            assert memory.cat("/out/a.csv") == b"yesterday's"
            sink.commit(10)
        assert ids("memory://out/a.csv") == list(range(10))
        with open_sink("memory://out/b.parquet", KEPT, NEW) as sink:
            add(sink)
        assert memory.ls("/out", detail=False) == ["/out/a.csv"]
    finally:
        memory.rm("/out", recursive=True)


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("memory://rows/in.csv", "memory:///rows/in.csv"),
        ("memory:///rows/", "memory://rows/in.csv"),
        ("memory://all.zip", "zip://in.csv::memory://all.zip"),
        ("nowhere://in.csv", "nowhere://in.csv"),
    ],
)
def test_an_output_is_no_input_under_another_url(path: str, given: str) -> None:
    with pytest.raises(NotWritten, match="the input"):
        check_is_no_input(path, ["in.csv", given])
    check_is_no_input(path, ["in.csv", "memory://others/in.csv"])


def test_standard_output(tmp_path: Path) -> None:
    code = """if True:
        from tests.files.test_outputs import KEPT, NEW, add
        from batchline.files import Format, WriteOptions, open_sink
        with open_sink("-", KEPT, NEW, WriteOptions(format=Format.CSV)) as sink:
            add(sink, 0, 2)
            sink.commit(2)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert ran.stdout == b"id,p\n0,0.0\n1,1.0\n"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path, found = tmp_path / "pipe.csv", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    with open_sink(str(path), KEPT, NEW) as sink:
        add(sink, 0, 1)
        sink.commit(1)
    reader.join()
    assert found == [b"id,p\n0,0.0\n"]
    assert path.is_fifo()


# Folders ----------------------------------------------------------------------------------------


def test_a_folder_is_complete_when_it_says_so(tmp_path: Path) -> None:
    options = WriteOptions(format=Format.CSV, compression="gzip")
    with open_sink(f"{tmp_path}/out/", KEPT, NEW, options) as sink:
        add(sink)
        assert not (tmp_path / "out/_SUCCESS").exists()
        sink.commit(10)
    assert sorted(names(tmp_path / "out")) == ["_SUCCESS", "part-00000.csv.gz"]
    assert ids(tmp_path / "out") == list(range(10))


def test_a_large_folder_has_several_files_and_none_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.folder.FOLDER_FILE_BYTES", 1000)
    for format_ in Format:
        folder = tmp_path / format_
        with open_sink(f"{folder}/", KEPT, NEW, WriteOptions(format=format_)) as sink:
            for turn in range(10):
                add(sink, turn * 100, 100)
            sink.commit(1000)
        assert ids(folder) == list(range(1000))
        files = [path for path in folder.iterdir() if path.name != "_SUCCESS"]
        assert len(files) >= 5
        assert all(ids(path) for path in files)


def test_writers_of_numbered_parts_do_not_meet(tmp_path: Path) -> None:
    with open_sink(f"{tmp_path}/out/", KEPT, NEW, WriteOptions(format=Format.CSV)) as sink:
        assert isinstance(sink, FolderSink)
        with sink.part(7) as part:
            add(part, 10, 5)
            part.commit(5)
        add(sink, 0)
        sink.commit(10)
    found = sorted(names(tmp_path / "out"))
    assert found == ["_SUCCESS", "part-00000.csv", "part-00007.csv"]
    assert ids(tmp_path / "out") == list(range(15))


def test_a_failure_removes_the_files_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchline.files.folder.FOLDER_FILE_BYTES", 10)
    options = WriteOptions(format=Format.CSV)
    with open_sink(f"{tmp_path}/out/", KEPT, NEW, options) as sink:
        add(sink)
        add(sink)
        with pytest.raises(NotWritten, match="20 rows of 19"):
            sink.commit(19)
    assert names(tmp_path / "out") == []


def test_a_folder_that_is_not_empty_is_rejected(tmp_path: Path) -> None:
    file(tmp_path, "precious.txt", "")
    with pytest.raises(NotWritten, match=r"is not empty: it has precious\.txt"):
        open_sink(str(tmp_path), KEPT, NEW, WriteOptions(format=Format.CSV))
    assert names(tmp_path) == ["precious.txt"]


def test_a_folder_that_may_not_be_written_to_is_found_before_the_run() -> None:
    with public_folder() as folder, ordinary_user():
        with pytest.raises(NotWritten, match="Permission denied"):
            check_place(f"{folder}/out.csv")
        check_place("-")
