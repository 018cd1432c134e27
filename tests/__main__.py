"""Run pytest on all cores: `python -m tests` takes pytest's arguments, `make test` gives it ARGS.

Each worker process starts database servers of its own, so a test may stop or kill its server
without an effect on the tests beside it. The servers keep their safe settings.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_WORKERS = 8
MEMORY = Path("/dev/shm")
BYTES_OF_A_WORKER = 10**9
"""A worker's servers and files take up to 0.6 GB. A container often has 64 MB in all."""
ATTENDED = {"--pdb", "--trace", "-s", "--capture=no"}
"""Options for somebody who watches or asks; they do not work with workers."""
PURE = Path(__file__).parent / "pure"


def main(arguments: Sequence[str]) -> None:
    """Become pytest."""
    workers = count_workers(arguments)
    if "TMPDIR" not in os.environ and has_room(workers):
        # Making and removing files in memory costs a third less CPU time than on a disk.
        os.environ["TMPDIR"] = str(MEMORY)
    # Otherwise each process that a test starts compiles a hundred modules: 0.2 s of CPU.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    options = [f"--numprocesses={workers}", "--dist=worksteal"]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *options, *arguments])


def count_workers(arguments: Sequence[str]) -> int:
    """One more than there are cores, for tests also wait; 0 is pytest's own process.

    A worker takes a few seconds to start, which is longer than many a part of the suite takes.
    """
    parts = [argument for argument in arguments if is_part(argument)]
    if ATTENDED & {*arguments} or (parts and all(map(is_quick, parts))):
        return 0
    return min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS)


def is_part(argument: str) -> bool:
    return not argument.startswith("-") and Path(argument.partition("::")[0]).exists()


def is_quick(part: str) -> bool:
    """Whether a part of the suite is a file, a test, or a folder that needs no server."""
    path = Path(part.partition("::")[0])
    return path.is_file() or path.resolve() == PURE


def has_room(workers: int) -> bool:
    """Whether the servers and files of all workers fit into memory."""
    try:
        return shutil.disk_usage(MEMORY).free > max(workers, 1) * BYTES_OF_A_WORKER
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
