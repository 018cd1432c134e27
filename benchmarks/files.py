"""Compare `batchline predict` with scripts that use pandas or polars and onnxruntime.

Each round runs whole processes in turn over the same CSV file: Batchline, which checks each row and
writes the column `error`, and both scripts, which check nothing. It compares times, CPU times and
peak memory. A run counts only if its predictions equal the others'. Further files show

- the peak memory with many more rows,
- the time for a single row, which is the start of the process,
- a model that takes a millisecond per row, compared with onnxruntime alone in memory.
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results, slow_model
from benchmarks.classifier import TOLERANCE, WrongResults
from benchmarks.files_data import DATA_SETS, DataSet
from benchmarks.job import positive

EPILOG = """\
The scripts run in an environment of their own, because pyarrow imports pandas if it is installed:

    python3 -m venv /tmp/frames
    /tmp/frames/bin/pip install pandas polars pyarrow onnxruntime
    python -m benchmarks.files --frames /tmp/frames/bin/python

Without --frames, only Batchline is measured. A quick run: --rows 100000 --long 0 --rounds 1
"""
HERE = Path(__file__).parent
SCRIPTS = ("polars", "pandas")
SLOW_ROUNDS = 3
"""Rounds with the slow model. Each takes half a minute at a millisecond per row."""
CHECKED_EACH = 97
"""Every so many rows, the predictions of a contender are compared with Batchline's."""
LAUNCHER = """
import os, sys, time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # packages that are installed have bytecode
started = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(process, 0)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a process: seconds, seconds of CPU, and its peak memory in MB."""

    seconds: float
    cpu: float
    peak: float


def main() -> None:
    options = read_options()
    found: dict[str, Any] = {"conditions": conditions(options), "data_sets": {}}
    with tempfile.TemporaryDirectory(prefix="files-", dir=options.folder) as name:
        folder = Path(name)
        for data in DATA_SETS:
            found["data_sets"][data.name] = compare(data, folder, options)
            print(data.name, found["data_sets"][data.name], end="\n\n", flush=True)
        if options.long:
            found["long"] = long_file(DATA_SETS[0], folder, options.long)
            print("long", found["long"], flush=True)
        if options.slow_rows:
            found["slow_model"] = slow(folder, options.slow_rows, min(options.rounds, SLOW_ROUNDS))
            print("slow model", found["slow_model"], flush=True)
    results.save("files", found, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.files",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    count = {"metavar": "N", "help": "(default: %(default)s)"}
    parser.add_argument("--rows", type=positive, default=1_000_000, **count)
    parser.add_argument("--long", type=int, default=10_000_000, **count)
    parser.add_argument("--slow-rows", type=int, default=20_000, **count)
    parser.add_argument("--rounds", type=positive, default=5, **count)
    parser.add_argument("--frames", metavar="PYTHON", help="the interpreter of that environment")
    parser.add_argument("--folder", type=Path, help="write the files into this folder")
    results.add_option(parser)
    return parser.parse_args()


# Contenders ------------------------------------------------------------------------------------


def compare(data: DataSet, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all contenders over one file."""
    model = data.write_model(folder / f"{data.name}.onnx")
    source = data.write_rows(folder / f"{data.name}.csv", options.rows)
    single = data.write_rows(folder / f"{data.name}-1.csv", 1)
    targets = {name: folder / f"{data.name}-{name}.csv" for name in ("batchline", *SCRIPTS)}
    commands = {"batchline": product(source, targets["batchline"], model, *data.options)}
    if options.frames:
        for name in SCRIPTS:
            script = str(HERE / f"files_{name}.py")
            files = map(str, (source, targets[name], model))
            commands[name] = [options.frames, script, *files, data.name]
    run(product(single, folder / "single.csv", model, *data.options))  # validates the model
    rounds = [measured(commands, turn) for turn in range(options.rounds)]
    for name in commands:
        check(data, targets["batchline"], targets[name], options.rows)
    starts = [
        run(product(single, folder / "single.csv", model, *data.options)).seconds
        for _ in range(options.rounds)
    ]
    return {**summary(rounds), "seconds_for_one_row": round(median(starts), 2)}


def product(source: Path, target: Path, model: Path, *options: str) -> list[str]:
    files = [str(source), "--output", str(target), "--model", str(model)]
    return [sys.executable, "-m", "batchline", "predict", *files, *options]


def measured(commands: dict[str, list[str]], turn: int) -> dict[str, Usage]:
    """Run each contender once. Each turn starts with another one."""
    names = list(commands)
    first = turn % len(names)
    return {name: run(commands[name]) for name in names[first:] + names[:first]}


def run(command: list[str]) -> Usage:
    """Run a command from a small process: Linux counts the parent's memory at the fork, too."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    seconds, cpu, peak = map(float, done.stdout.split())
    return Usage(seconds, cpu, peak / 1024)


def long_file(data: DataSet, folder: Path, rows: int) -> dict[str, Any]:
    """Return what Batchline takes for a file of many rows."""
    source = data.write_rows(folder / "long.csv", rows)
    model, target = folder / f"{data.name}.onnx", folder / "long-out.csv"
    usage = run(product(source, target, model, *data.options))
    size = source.stat().st_size
    for path in (source, target):
        path.unlink()
    return {
        "rows": rows,
        "megabytes": round(size / 1e6),
        "peak_megabytes": round(usage.peak),
        "rows_per_second": round(rows / usage.seconds),
        "rows_per_cpu_second": round(rows / usage.cpu),
    }


def slow(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Compare with `session.run` alone, with the best batch size, over the same rows.

    onnxruntime alone predicts a part of the rows in each round, before and after Batchline.
    """
    model, source = slow_model.make_model(folder / "slow.onnx"), folder / "slow.csv"
    lines = [",".join(map(str, row)) for row in slow_model.rows_of(rows)]
    source.write_text("a,b,c,d\n" + "\n".join(lines) + "\n")
    given = source, folder / "slow-out.csv", model, "--columns", "a,b,c,d"
    single = folder / "slow-1.csv"
    single.write_text("a,b,c,d\n" + lines[0] + "\n")
    run(product(single, *given[1:]))  # validates the model
    alone = slow_model.Alone(model, rows)
    ratios, rates = [], []
    for _ in range(rounds):
        before = alone.rate()
        seconds = run(product(*given)).seconds
        rates.append((before + alone.rate()) / 2)
        ratios.append(rows / seconds / rates[-1])
        print(f"slow model: {rows / seconds:.0f} rows/s, alone {rates[-1]:.0f}", flush=True)
    return {
        "rows": rows,
        "ms_a_row": round(1000 / median(rates), 2),
        "batchline_to_onnxruntime": round(median(ratios), 2),
        "rounds": [round(ratio, 3) for ratio in ratios],
    }


# Checking --------------------------------------------------------------------------------------


def check(data: DataSet, own: Path, other: Path, rows: int) -> None:
    """Check that two outputs have all rows, with the same predictions.

    Raises:
        WrongResults: they have not.
    """
    names = ["id", *(f"probability_{name}" for name in data.classes)]
    count = 0
    for mine, theirs in zip(_rows(own), _rows(other), strict=True):
        count += 1
        if count % CHECKED_EACH:
            continue
        apart = [abs(float(mine[name]) - float(theirs[name])) for name in names]
        if mine["label"] != theirs["label"] or max(apart) > TOLERANCE:
            raise WrongResults(f"{other.name} has {theirs}, and {own.name} has {mine}")
    if count != rows:
        raise WrongResults(f"{own.name} and {other.name} have {count} of {rows} rows")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


# Results ---------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    found = {"python": platform.python_version(), "cores": os.cpu_count()}
    found |= {library: version(library) for library in ("onnxruntime", "pyarrow")}
    if options.frames:
        code = "import pandas, polars; print(pandas.__version__, polars.__version__)"
        printed = subprocess.check_output([options.frames, "-c", code], text=True).split()
        found |= dict(zip(("pandas", "polars"), printed, strict=True))
    return {**found, "rows": options.rows, "rounds": options.rounds}


def summary(rounds: list[dict[str, Usage]]) -> dict[str, Any]:
    """Return medians. A ratio compares a script with Batchline in the same round."""
    names = list(rounds[0])
    return {
        "ratios": {
            name: {
                "time": _ratio(rounds, name, "seconds"),
                "cpu": _ratio(rounds, name, "cpu"),
                "memory": _ratio(rounds, name, "peak"),
            }
            for name in names
            if name != "batchline"
        },
        **{
            name: {
                "seconds": round(median(each[name].seconds for each in rounds), 2),
                "cpu_seconds": round(median(each[name].cpu for each in rounds), 2),
                "peak_megabytes": round(max(each[name].peak for each in rounds)),
            }
            for name in names
        },
    }


def _ratio(rounds: list[dict[str, Usage]], name: str, what: str) -> float:
    pairs = [(getattr(each[name], what), getattr(each["batchline"], what)) for each in rounds]
    return round(median(theirs / own for theirs, own in pairs), 2)


if __name__ == "__main__":
    main()
