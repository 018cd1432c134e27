"""`batchline predict` loses no row, whatever ends its processes, and continues a run."""

import csv
import gzip
import io
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests import models
from tests.acceptance.test_predict import predict, predict_here, read
from tests.service import PATIENCE, Command, environment, wait_for

KILLS = 20


def numbers(path: Path, *values: int) -> Path:
    path.write_text("id,x\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Rows that end the process -----------------------------------------------------------------------


def test_a_row_that_kills_the_process_is_found_and_its_neighbours_are_predicted(
    tmp_path: Path,
) -> None:
    model = models.deadly(tmp_path / "deadly.onnx")
    values = [n % 90 + 1 for n in range(5_000)]
    values[0] = values[1234] = values[4999] = -1
    source, target = numbers(tmp_path / "in.csv", *values), tmp_path / "out.csv"
    done = predict(source, "-o", target, "--model", model, "--json", status=3)
    assert json.loads(done.stdout)["errors"] == {"worker_crashed": 3}
    rows = read(target)
    assert [int(row["id"]) for row in rows] == list(range(5_000))
    for row, value in zip(rows, values, strict=True):
        if value == -1:
            line = int(row["id"]) + 2
            assert row["error"].startswith(
                f"worker_crashed: {source}, line {line}: the model ended"
            )
            assert "SIGFPE" in row["error"]
        else:
            assert (int(row["share"]), row["error"]) == (-((2**63) // value), "")


def test_a_row_that_takes_too_long_is_found_and_its_neighbours_are_predicted(
    tmp_path: Path,
) -> None:
    model = models.slow(tmp_path / "slow.onnx")
    source = numbers(tmp_path / "in.csv", *[1] * 10, 10**12, *[2] * 10)
    target = tmp_path / "out.csv"
    predict(source, "-o", target, "--model", model, status=3, MODEL_TIMEOUT="1")
    rows = read(target)
    assert [row["y"] for row in rows] == ["1"] * 10 + [""] + ["2"] * 10
    reason = f"timed_out: {source}, line 12: the model took longer than 1 s (MODEL_TIMEOUT)"
    assert rows[10]["error"] == reason


def test_a_model_that_dies_at_every_row_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    model = models.deadly(tmp_path / "deadly.onnx")
    source, target = numbers(tmp_path / "in.csv", *[-1] * 50), tmp_path / "out.csv"
    done = predict(source, "-o", target, "--model", model, status=1)
    assert "each of the first 5 rows failed: the model ended its process (SIGFPE)" in done.stderr
    assert names(tmp_path) == {"in.csv", "deadly.onnx"}


def test_a_row_of_a_stream_that_kills_the_process_fails_alone(tmp_path: Path) -> None:
    model = models.deadly(tmp_path / "deadly.onnx")
    words = ("-", "-o", "-", "--model", model, "--input-format", "csv", "--output-format", "csv")
    done = predict(*words, given="x\n1\n-1\n2\n", status=3)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["x"] for row in rows] == ["1", "-1", "2"]
    crash = "worker_crashed: standard input, line 3: the model ended its process (SIGFPE)"
    assert [row["error"] for row in rows] == ["", crash, ""]


# Processes that are killed -----------------------------------------------------------------------

FORMATS = ["csv", "parquet", "csv.gz", "csv.zst", "jsonl", "folder/"]
ROWS = 60_000


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that takes some seconds for a file, which has a row that is none."""
    folder = tmp_path_factory.mktemp("sources")
    models.slow(folder / "slow.onnx")
    with (folder / "in.csv").open("w") as file:
        file.write("id,x,note\n")
        for n in range(ROWS):
            value = "oops" if n == 40_000 else 20_000 + n % 7
            file.write(f'{n},{value},"{n:0100}, {n:0100}"\n')
    return folder


def words(sources: Path, target: Path | str) -> list[str]:
    given = [str(sources / "in.csv"), "-o", str(target), "--model", str(sources / "slow.onnx")]
    return [*given, "--output-format", "csv"] if str(target).endswith("/") else given


def undisturbed(sources: Path, ending: str) -> Path:
    target = sources / f"whole.{ending}"
    if not target.exists():
        predict_here(*words(sources, f"{sources}/whole.{ending}"), status=3)
    return target


def content(path: Path) -> object:
    if path.is_dir():
        return {each.name: each.read_bytes() for each in path.iterdir()}
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        with pa.input_stream(path, compression="zstd") as stream:
            return stream.read()
    if path.suffix == ".parquet":
        assert parquet.read_table(path).num_rows == ROWS
    return path.read_bytes()


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [int(each) for each in found.read_text().split()]
    except OSError:
        return []


def run_and_kill(arguments: list[str], saved: Path, kills: int, chance: random.Random) -> int:
    """Run a command until it is complete. Kill its worker or all its processes on the way.

    Every second time it has just saved how far it is. Return its exit code.
    """
    process = None
    for kill in range(kills):
        if process is None:
            process = start(arguments)
        if kill % 2:
            wait_for_save(process, saved)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 1))
        if process.poll() is not None:
            return process.returncode
        if chance.random() < 0.5 and (worker := children(process.pid)):
            os.kill(worker[0], signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = None
    return (process or start(arguments)).wait(60)


def predicts(pid: int) -> bool:
    """Whether a child process handles SIGTERM, since it has something to undo."""
    for child in children(pid):
        status = Path(f"/proc/{child}/status").read_text()
        if int(re.findall(r"SigCgt:\s*([0-9a-f]+)", status)[0], 16) >> (signal.SIGTERM - 1) & 1:
            return True
    return False


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "batchline", "predict", *arguments, "--resume"]
    return subprocess.Popen(
        command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for_save(process: subprocess.Popen[bytes], saved: Path) -> None:
    before = saves(saved)
    wait_for(lambda: saves(saved) > before or process.poll() is not None, "a save")


def saves(journal: Path) -> int:
    """How often a run has saved how far it is."""
    return journal.read_bytes().count(b'"parts"') if journal.exists() else 0


@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_again_and_again_has_the_same_output(
    tmp_path: Path, sources: Path, long: bool
) -> None:
    for ending in FORMATS if long else FORMATS[:1]:
        kill_and_compare(tmp_path, sources, ending, KILLS if long else 3)


def kill_and_compare(tmp_path: Path, sources: Path, ending: str, kills: int) -> None:
    whole, target = undisturbed(sources, ending), tmp_path / f"out.{ending}"
    saved = target / ".batchline" if ending == "folder/" else tmp_path / f".out.{ending}.batchline"
    arguments = words(sources, f"{tmp_path}/out.{ending}")
    assert run_and_kill(arguments, saved / "journal.jsonl", kills, random.Random(ending)) == 3
    assert content(target) == content(whole)
    assert not saved.exists()


# Ctrl-C and --resume -----------------------------------------------------------------------------


@pytest.fixture
def interrupted(tmp_path: Path, sources: Path) -> Iterator[tuple[Path, str]]:
    """An output whose run was stopped by Ctrl-C, and what the run said."""
    target = tmp_path / "out.csv"
    saved = tmp_path / ".out.csv.batchline/journal.jsonl"
    secret = ("--database-url", "postgresql://me:secret@db/rows")
    with Command("predict", *words(sources, target), *secret) as command:
        wait_for_save(command.process, saved)
        command.send(signal.SIGINT)
        assert command.wait() == 128 + signal.SIGINT, command.output
        yield target, command.output


def test_ctrl_c_says_how_to_continue_and_that_command_does(
    sources: Path, interrupted: tuple[Path, str]
) -> None:
    target, said = interrupted
    assert not target.exists()
    _, _, command = said.strip().rpartition("\n")
    assert "To continue, run:" in said
    assert "secret" not in said
    url = ("--database-url", "postgresql://me:***@db/rows")
    again = [*words(sources, target), *url, "--resume"]
    assert command == shlex.join(["batchline", "predict", *again])
    done = predict_here(*shlex.split(command)[2:], "--json", status=3)
    assert re.search(r"an interrupted run with \d+ rows exists: continuing it", done.stderr)
    assert json.loads(done.stdout)["rows"] == ROWS
    assert target.read_bytes() == undisturbed(sources, "csv").read_bytes()
    assert names(target.parent) == {"out.csv"}


def test_what_changed_since_a_run_was_interrupted_is_named(
    tmp_path: Path, sources: Path, interrupted: tuple[Path, str]
) -> None:
    target, _ = interrupted
    source, model = tmp_path / "in.csv", models.deadly(tmp_path / "other.onnx")
    given = words(sources, target)
    done = predict(*given, "--resume", "--keep", "id", status=1)
    assert "columns of the output: it was id (string), x (string), note" in done.stderr
    assert "the model:" not in done.stderr
    assert "To continue" not in done.stderr  # for the command would fail again
    done = predict(*given[:-1], model, "--resume", status=1)
    assert "the run cannot be continued, since this changed:\nthe model: it was " in done.stderr
    text = (sources / "in.csv").read_text()
    source.write_text(text.replace("\n0,20000,", "\n0,20001,", 1))
    done = predict(source, *given[1:], "--resume", status=1)
    assert f"changed:\nthe input: {source}, row 1 and after it" in done.stderr
    assert (
        "hint: go back to what it was to continue, or leave --resume out to start over"
        in done.stderr
    )
    source.write_text(text)  # the same bytes under another name
    predict_here(source, *given[1:], "--resume", status=3)


def test_a_run_that_starts_over_says_that_it_could_continue(
    sources: Path, interrupted: tuple[Path, str]
) -> None:
    target, said = interrupted
    kept = re.search(r"(\d+) rows are kept in", said)
    assert kept
    warning = f"an interrupted run with {kept[1]} rows exists: add --resume to continue it. This "
    given = words(sources, target)
    short = [numbers(sources / "short.csv", 1), *given[1:]]
    assert warning in predict_here(*short).stderr
    assert "interrupted run" not in predict_here(*short).stderr
    said = predict_here(*short, "--resume").stderr
    assert "no interrupted run exists: starting a new one" in said


def test_two_runs_do_not_write_the_same_output(tmp_path: Path, sources: Path) -> None:
    target = tmp_path / "out.csv"
    with Command("predict", *words(sources, target)) as command:
        wait_for_save(command.process, tmp_path / ".out.csv.batchline/journal.jsonl")
        with paused(command.process.pid):
            done = predict_here(*words(sources, target), "--resume", status=1)
        assert "another run writes this output now" in done.stderr
        assert command.wait() == 3, command.output
    assert target.read_bytes() == undisturbed(sources, "csv").read_bytes()


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process and its children do not go on during the block."""
    every = [pid, *children(pid)]
    for each in every:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in every:
            os.kill(each, signal.SIGCONT)


def test_streams_cannot_be_resumed(tmp_path: Path, sources: Path) -> None:
    given = words(sources, tmp_path / "out.csv")
    done = predict_here("-", *given[1:], "--resume", status=2)
    assert "standard input cannot be continued" in done.stderr
    done = predict_here(*words(sources, "-"), "--resume", status=2)
    assert "cannot be continued" in done.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--query", "SELECT 1 AS x", "-o", "out.csv", "--resume"], "reads the query from its"),
        (["--query", "SELECT 1 AS x", "--into", "t", "--id", "x", "--resume"], "completes the"),
        (["in.csv", "--into", "t", "--only-errors", "out.csv"], "add --id COLUMN instead"),
    ],
)  # fmt: skip
def test_options_about_files_are_refused_for_queries_and_tables(
    words: list[str], hint: str
) -> None:
    done = predict_here(*words, "--model", "model.onnx", status=2)
    said = " ".join(done.stderr.replace("│", "").split())
    name = words[-1] if words[-1][0] == "-" else words[-2]
    assert f"Invalid value for {name}: only a run from files to a file takes it" in said
    assert hint in said


@pytest.mark.parametrize(
    ("given", "output", "said"),
    [
        ("-", "out.csv", "nothing was written. To be able to continue, save standard input in a"),
        ("in.csv", "-", "standard output has a part of the rows. Run the command again"),
        ("in.csv", "file://{}/out.csv", "nothing was written. Run the command again: only a file"),
    ],
    ids=["input", "output", "url"],
)
def test_ctrl_c_says_what_to_do_if_a_run_cannot_be_continued(
    tmp_path: Path, sources: Path, given: str, output: str, said: str
) -> None:
    source = sources / given if given != "-" else given
    words = [source, "-o", output.format(tmp_path), "--model", sources / "slow.onnx"]
    formats = ["--input-format", "csv", "--output-format", "csv"]
    with (
        (sources / "in.csv").open() as rows,
        subprocess.Popen(
            [sys.executable, "-m", "batchline", "predict", *map(str, [*words, *formats])],
            cwd=tmp_path, env=environment(), text=True,
            stdin=rows, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        wait_for(lambda: predicts(process.pid), "the process that predicts")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT, errors
    assert f"stopped: {said}" in errors
    assert not names(tmp_path) - {"out.csv"}


def test_a_disk_that_is_full_leaves_yesterdays_output_and_what_can_be_continued(
    tmp_path: Path, sources: Path
) -> None:
    target = tmp_path / "out.csv"
    target.write_text("yesterday")
    command = shlex.join([sys.executable, "-m", "batchline", "predict", *words(sources, target)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 9000; {command}"],  # files of 9 MB
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"{target} cannot be written: File too large" in done.stderr
    assert target.read_text() == "yesterday"
    predict_here(*words(sources, target), "--resume", status=3)
    assert target.read_bytes() == undisturbed(sources, "csv").read_bytes()


# --only-errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
def test_only_rows_with_errors_are_predicted_again_and_merged_in_place(
    tmp_path: Path, ending: str
) -> None:
    model = models.picky(tmp_path / "picky.onnx")
    rows = 40_000  # more than one block
    bad = {0: "oops", 20_000: "99", 35_000: "", rows - 1: "99"}
    source, corrected = tmp_path / "in.csv", tmp_path / "corrected.csv"
    for path, some in ((source, bad), (corrected, {20_000: "99"})):
        lines = (f"{n},{some.get(n, n % 9)},{n:032}\n" for n in range(rows))
        path.write_text("id,x,note\n" + "".join(lines))
    first, again, whole = (tmp_path / f"{name}.{ending}" for name in ("first", "again", "whole"))
    given = ("--model", model)
    predict_here(source, "-o", first, *given, status=3)
    done = predict_here(
        corrected, "-o", again, *given, "--only-errors", first, "--json", status=3
    )  # fmt: skip
    assert json.loads(done.stdout)["errors"] == {"model_error": 1}
    predict_here(corrected, "-o", whole, *given, status=3)
    if ending == "parquet":
        assert parquet.read_table(again).equals(parquet.read_table(whole))
    else:
        assert content(again) == content(whole)
    predict_here(corrected, "-o", first, *given, "--only-errors", first, status=3)  # in place
    if ending != "parquet":
        assert content(first) == content(whole)


@pytest.mark.parametrize(
    ("source", "row", "output", "options"),
    [
        ("in.csv", "é,{}\n", "out.csv", ["--encoding", "latin-1"]),
        ("in.jsonl", '{{"id":"é","x":{}}}\n', "out.jsonl", ["--encoding", "utf-16"]),
        ("in.tsv", "é\t{}\n", "out.csv", []),
        ("in.jsonl", '{{"id":"é","x":{}}}\n', "out.csv", ["--decimal", ",", "--thousands", "."]),
    ],
    ids=["csv", "jsonl", "tsv", "decimal"],
)
def test_an_earlier_output_is_read_as_it_was_written(
    tmp_path: Path, source: str, row: str, output: str, options: list[str]
) -> None:
    given = ("--model", models.picky(tmp_path / "picky.onnx"), *options)
    header = "" if "{{" in row else row.format("x").replace("é", "id")
    encoding = options[1] if "--encoding" in options else "utf-8"
    again, whole = tmp_path / output, tmp_path / f"whole.{output}"
    old, new = (tmp_path / f"{name}.{source}" for name in ("old", "new"))
    for path, values in ((old, [2, 99, 3]), (new, [2, 5, 3])):
        path.write_text(header + "".join(map(row.format, values)), encoding)
    predict_here(old, "-o", again, *given, status=3)
    predict_here(new, "-o", again, *given, "--only-errors", again)
    predict_here(new, "-o", whole, *given)
    assert again.read_bytes() == whole.read_bytes()


def test_rows_with_another_delimiter_are_not_merged(tmp_path: Path) -> None:
    given = ("--model", models.picky(tmp_path / "picky.onnx"))
    first, target = tmp_path / "first.csv", tmp_path / "out.tsv"
    predict_here(numbers(tmp_path / "in.csv", 2, 99), "-o", first, *given, status=3)
    corrected = numbers(tmp_path / "corrected.csv", 2, 5)
    done = predict_here(corrected, "-o", target, *given, "--only-errors", first, status=1)
    assert f"{first} has the delimiter ',', and the output has '\\t'" in done.stderr
    assert not target.exists()


def test_rows_that_succeeded_are_not_predicted_again(tmp_path: Path) -> None:
    model = models.picky(tmp_path / "picky.onnx")
    first, target = tmp_path / "first.csv", tmp_path / "out.csv"
    predict_here(numbers(tmp_path / "in.csv", 2, 99, 3), "-o", first, "--model", model, status=3)
    first.write_text(first.read_text().replace("0,2,4.0,", '0,2," 4.00",'))
    corrected = numbers(tmp_path / "corrected.csv", 2, 5, 3)
    predict_here(corrected, "-o", target, "--model", model, "--only-errors", first)
    assert target.read_text() == 'id,x,square,error\n0,2," 4.00",\n1,5,25.0,\n2,3,9.0,\n'


LINES = ['{"id":1,"x":2}', '{"id":2,"x":99,"note":"n"}', '{"id":3,"X":4}', '{"id":']


def lines(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize("options", [[], ["--keep", "note,id"]], ids=["all", "some"])
def test_lines_with_different_keys_are_merged(tmp_path: Path, options: list[str]) -> None:
    given = ("--model", models.picky(tmp_path / "picky.onnx"), *options)
    first, whole = tmp_path / "first.jsonl", tmp_path / "whole.jsonl"
    predict_here(lines(tmp_path / "in.jsonl", *LINES), "-o", first, *given, status=3)
    better = [LINES[0], '{"id":2,"x":9,"note":"n"}', '{"id":3,"x":4}', '{"id":4,"x":5,"late":6}']
    source = lines(tmp_path / "corrected.jsonl", *better)
    predict_here(source, "-o", first, *given, "--only-errors", first)
    predict_here(source, "-o", whole, *given)
    assert first.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ([], ["--keep", "id"], "has the key 'X', which the new output would not have"),
        (["--keep", "id"], [], "must have the keys x, square, error, got id, square, error"),
        ([], ["--add", "none"], "has the key 'square', which the new output would not have"),
        ([], ["--rename", "square=y"], "must have the keys x, y, error, got id, x, square, "),
    ],
)
def test_lines_of_a_run_with_other_columns_are_not_merged(
    tmp_path: Path, before: list[str], now: list[str], said: str
) -> None:
    given = ("--model", models.picky(tmp_path / "picky.onnx"))
    source, first = lines(tmp_path / "in.jsonl", *LINES), tmp_path / "first.jsonl"
    predict_here(source, "-o", first, *given, *before, status=3)
    done = predict_here(source, "-o", first, *given, *now, "--only-errors", first, status=1)
    assert f"{first} {said}" in done.stderr


def test_an_earlier_output_that_does_not_belong_to_the_input_is_rejected(tmp_path: Path) -> None:
    model = models.picky(tmp_path / "picky.onnx")
    first, target = tmp_path / "first.csv", tmp_path / "out.csv"
    source = numbers(tmp_path / "in.csv", 1, 99, 3)
    given = ("-o", target, "--model", model, "--only-errors", first)
    predict_here(source, "-o", first, "--model", model, status=3)
    before = first.read_bytes()
    other = numbers(tmp_path / "sorted.csv", 3, 1, 99)
    done = predict_here(other, *given, status=1)
    assert f"{other}, row 1: 'x' has another value than in the earlier output" in done.stderr
    done = predict_here(numbers(tmp_path / "short.csv", 1, 99), *given, status=1)
    assert "the input has 2 rows, and the earlier output has more" in done.stderr
    done = predict_here(numbers(tmp_path / "long.csv", 1, 99, 3, 4), *given, status=1)
    assert "the earlier output has 3 rows, and the input has more" in done.stderr
    done = predict_here(source, *given, "--keep", "id", status=1)
    assert f"{first} must have the columns id, square, error, got id, x, " in done.stderr
    assert first.read_bytes() == before
    assert not target.exists()
