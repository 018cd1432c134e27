"""Paths, folders, patterns and URLs, and files that are compressed, damaged or changing."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from batchline.file_errors import (
    FileOptionInvalid,
    FileUnreadable,
    FormatUnknown,
    NoFileFound,
    SourceChanged,
)
from batchline.files import Format, ReadOptions, open_source
from tests.files.reading import FLOAT, Read, file, read, read_features
from tests.files.rights import ordinary_user, public_folder

ROWS = "x,id\n" + "".join(f"{n},{n}\n" for n in range(300_000))
"""More than one part."""


def numbers(*paths: Path | str, options: ReadOptions | None = None) -> list[float]:
    return read(*paths, options=options, x=FLOAT).values["x"]


def one_row(folder: Path, name: str, number: int) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return file(folder, name, f"x\n{number}\n")


# Paths ------------------------------------------------------------------------------------------


def test_files_of_a_folder_are_read_by_name_but_hidden_ones_are_not(tmp_path: Path) -> None:
    for number, name in enumerate(
        ["b.csv", "a.csv", "sub/c.csv", ".x.csv", "_SUCCESS", "_t/d.csv"]
    ):
        one_row(tmp_path, name, number)
    assert numbers(tmp_path) == [1.0, 0.0, 2.0]


def test_a_pattern_and_several_paths(tmp_path: Path) -> None:
    for number, name in enumerate(["a1.csv", "a2.csv", "b.csv", "sub/a3.csv"]):
        one_row(tmp_path, name, number)
    assert numbers(tmp_path / "b.csv", tmp_path / "a?.csv") == [2.0, 0.0, 1.0]
    assert numbers(tmp_path / "**/a*.csv") == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("path", ["", "/**/*.csv"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_files_of_linked_folders_are_read_once(tmp_path: Path, path: str, scheme: str) -> None:
    for number, name in enumerate(["in/sub/a.csv", "in/b.csv", "far/off/c.csv", "in/.kept/d.csv"]):
        one_row(tmp_path, name, number)
    for name, target in {
        "far": "../far", "far2": "../far", "latest": "sub", "loop": ".", "shown": ".kept"
    }.items():  # fmt: skip
        (tmp_path / "in" / name).symlink_to(target)
    assert sorted(numbers(f"{scheme}{tmp_path}/in{path}")) == [0.0, 1.0, 2.0, 3.0]


def test_a_folder_that_has_a_link_is_read_by_its_own_name(tmp_path: Path) -> None:
    for number, name in enumerate(["1.csv", "2.csv"]):
        one_row(tmp_path, f"day{name[0]}/{name}", number)
    (tmp_path / "a").symlink_to("day2")
    with open_source([str(tmp_path)]) as source:
        paths = [each.location.path for each in source.files]
    assert paths == [f"{tmp_path}/day1/1.csv", f"{tmp_path}/day2/2.csv"]


def test_a_folder_without_the_right_to_read_is_an_error() -> None:
    with public_folder() as folder:
        one_row(folder, "a.csv", 1)
        one_row(folder, "closed/b.csv", 2)
        (folder / "closed").chmod(0)
        why = r"/closed cannot be read: Permission denied"
        with ordinary_user(), pytest.raises(FileUnreadable, match=why):
            numbers(folder)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    one_row(tmp_path, "a1.csv", 1)
    assert numbers(one_row(tmp_path, "a[1].csv", 2)) == [2.0]


@pytest.mark.parametrize("name", ["none.csv", "none*.csv", "none"])
def test_a_path_that_leads_to_no_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(NoFileFound, match="none"):
        numbers(tmp_path / name)


def test_a_name_that_does_not_show_the_format_needs_the_option(tmp_path: Path) -> None:
    one_row(tmp_path, "part-0001", 1)
    with pytest.raises(FormatUnknown, match="part-0001") as caught:
        numbers(tmp_path)
    assert "--input-format csv" in caught.value.hint
    assert numbers(tmp_path, options=ReadOptions(format=Format.CSV)) == [1.0]


def test_files_of_different_formats_are_rejected(tmp_path: Path) -> None:
    file(tmp_path, "a.jsonl", '{"x":1}\n')
    one_row(tmp_path, "b.csv", 1)
    with pytest.raises(FormatUnknown, match="different formats"):
        numbers(tmp_path)


def test_a_url_of_another_filesystem() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/data/1.csv", b"x\n1\n")
    memory.pipe("/data/2.csv", b"x\n2\n")
    try:
        for url in ("memory://data", "memory://data/*.csv", "memory://data/?.csv"):
            assert numbers(url) == [1.0, 2.0]
        assert numbers("memory://data/2.csv") == [2.0]
        for name in ("x*", "x.csv"):
            with pytest.raises(NoFileFound, match="memory://data/x"):
                numbers(f"memory://data/{name}")
    finally:
        memory.rm("/data", recursive=True)


def test_a_filesystem_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(FileUnreadable, match=r"nowhere://a\.csv cannot be read"):
        numbers("nowhere://a.csv")


def test_a_file_without_the_right_to_read_is_an_error() -> None:
    with public_folder() as folder:
        path = one_row(folder, "a.csv", 1)
        path.chmod(0)
        why = r"a\.csv cannot be read: Permission denied"
        with ordinary_user(), pytest.raises(FileUnreadable, match=why):
            numbers(path)


class Input:
    """Stands in for `sys.stdin`."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, compress: type[bytes]) -> None:
    monkeypatch.setattr(sys, "stdin", Input(compress(ROWS.encode())))
    found = read("-", options=ReadOptions(format=Format.CSV), x=FLOAT)
    assert found.values["x"] == [float(n) for n in range(300_000)]
    assert found.source.total_bytes is None


def test_standard_input_of_the_other_formats(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parquet.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    for format_, content in [
        (Format.PARQUET, (tmp_path / "a.parquet").read_bytes()),
        (Format.JSONL, b'{"x":1}\n{"x":2}'),
    ]:
        monkeypatch.setattr(sys, "stdin", Input(content))
        with open_source(["-"], ReadOptions(format=format_)) as source:
            blocks = [block for part in source.parts() for block in part.blocks({"x": FLOAT})]
        assert [x for block in blocks for x in block.features["x"].to_pylist()] == [1.0, 2.0]


def test_standard_input_needs_a_format() -> None:
    with pytest.raises(FormatUnknown, match="standard input has no name"):
        numbers("-")


def test_a_pipe_that_delivers_little_by_little(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for start in range(0, 3000, 7):
                pipe.write(ROWS.encode()[start : min(start + 7, 3000)])

    writer = threading.Thread(target=write)
    writer.start()
    found = numbers(path)
    writer.join()
    assert found[:3] == [0.0, 1.0, 2.0]
    assert len(found) == ROWS[:3000].count("\n")


# Compression ------------------------------------------------------------------------------------


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.csv"])
def test_all_members_of_a_compressed_file_are_read(tmp_path: Path, compress, name: str) -> None:  # type: ignore[no-untyped-def]
    content = compress(b"x\n1\n") + compress(b"2\n") + compress(b"3\n" * 10)
    assert numbers(file(tmp_path, name, content)) == [1.0, 2.0] + [3.0] * 10


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_compressed_file_that_is_cut_off_is_an_error(tmp_path: Path, compress, cut: int) -> None:  # type: ignore[no-untyped-def]
    content = compress(ROWS.encode())
    with pytest.raises(FileUnreadable, match=r"a\.csv\.gz cannot be read: Truncated"):
        numbers(file(tmp_path, "a.csv.gz", content[:-cut]))


def test_a_compressed_file_with_something_else_behind_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable):
        numbers(file(tmp_path, "a.csv.gz", gzip.compress(b"x\n1\n") + b"junk"))


# Parts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet", "utf16.csv"])
def test_parts_are_the_same_each_time_and_in_any_process(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = ReadOptions(encoding="utf-16") if name == "utf16.csv" else ReadOptions()
    rows = range(300_000)
    if name.endswith(".parquet"):
        parquet.write_table(pa.table({"x": rows}), path, row_group_size=70_000)
    elif name.endswith(".jsonl"):
        path.write_text("".join(f'{{"x":{n}}}\n' for n in rows))
    else:
        text = ROWS.encode(options.encoding)
        path.write_bytes(gzip.compress(text, 1) if name.endswith(".gz") else text)
    with open_source([str(path)], options) as source:
        first = list(source.parts())
        second = [pickle.loads(pickle.dumps(part.detached())) for part in source.parts()]
    assert len(first) == len(second) > 1
    for one, two in zip(first, second, strict=True):
        for left, right in zip(one.blocks({"x": FLOAT}), two.blocks({"x": FLOAT}), strict=True):
            assert left.features == right.features
            assert left.first_row == right.first_row
            assert (left.lines is None) or (left.lines == right.lines).all()
    assert first[-1].first_row + first[-1].rows == 300_001


def test_a_part_without_its_bytes_is_small(tmp_path: Path) -> None:
    with open_source([str(file(tmp_path, "a.csv", ROWS))]) as source:
        sizes = [len(pickle.dumps(part.detached())) for part in source.parts()]
    assert max(sizes) < 2_000


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_position_of_parts_leads_up_to_the_size_of_the_file(
    tmp_path: Path, ending: str
) -> None:
    content = gzip.compress(ROWS.encode()) if ending else ROWS.encode()
    path = file(tmp_path, f"a.csv{ending}", content)
    with open_source([str(path)]) as source:
        places = [part.bytes_read for part in source.parts()]
    assert places == sorted(places)
    assert places[-1] == source.total_bytes == path.stat().st_size


# Changes ----------------------------------------------------------------------------------------


def read_while(path: Path, change) -> Read:  # type: ignore[no-untyped-def]
    with open_source([str(path)]) as source:
        parts = source.parts()
        next(parts)
        change()
        list(parts)
    raise AssertionError("the change was not noticed")


def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", ROWS)
    with pytest.raises(SourceChanged, match=r"a\.csv changed while it was read"):
        read_while(path, lambda: path.write_text(ROWS + "7,7\n"))


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", ROWS)
    with pytest.raises(SourceChanged):
        read_while(path, lambda: os.truncate(path, len(ROWS) - 100))


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", ROWS)
    other = file(tmp_path, "b.csv", ROWS.replace("9", "8"))
    with pytest.raises(SourceChanged):
        read_while(path, lambda: other.replace(path))


def test_a_part_of_a_file_that_changed_since_is_an_error(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", ROWS)
    with open_source([str(path)]) as source:
        part = next(iter(source.parts())).detached()
    file(tmp_path, "a.csv", ROWS.replace("9", "8"))
    with pytest.raises(SourceChanged):
        list(part.blocks({}))


def test_a_source_is_not_called_read_before_its_end_was_seen(tmp_path: Path) -> None:
    with open_source([str(file(tmp_path, "a.csv", ROWS))]) as source:
        parts = source.parts()
        next(parts)
        assert not source.is_read
        list(parts)
        assert source.is_read
        assert source.rows == 300_000


# Options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"delimiter": ";;"}, {"delimiter": '"'}, {"delimiter": "é"}, {"delimiter": "1"},
     {"delimiter": "t"}, {"decimal": ""}, {"decimal": "·"}, {"decimal": '"'}, {"decimal": "-"},
     {"decimal": ",", "thousands": ","}, {"thousands": "1"}, {"encoding": "klingon"},
     {"encoding": "base64"}],
)  # fmt: skip
def test_options_without_a_meaning_are_rejected(options: dict[str, str]) -> None:
    with pytest.raises(FileOptionInvalid):
        ReadOptions(**options)  # type: ignore[arg-type]


def test_importing_the_package_does_not_import_what_takes_long() -> None:
    """Every command, the API too, starts with these imports."""
    code = "import sys, batchline.files, batchline.cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"pyarrow", "sqlalchemy", "structlog", "numpy", "onnxruntime", "pydantic"}
    assert not slow & {*ran.stdout.split()}


def test_a_file_that_is_named_twice_is_read_twice(tmp_path: Path) -> None:
    path = str(one_row(tmp_path, "a.csv", 1))
    assert read_features([path, path], {"x": FLOAT}).values == {"x": [1.0, 1.0]}
