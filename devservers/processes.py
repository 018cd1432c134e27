"""Processes of a server: find them, stop them, and outlive their starter to clean up after it.

Run as a program, this file is the watcher that each server has. It holds one
end of a pipe; when the process that started the server ends in whatever way,
kill -9 included, the pipe closes, and the watcher kills the server and removes
its folder. (Linux can also signal a child when its parent dies, but that goes
by the thread which started the child, so a server restarted from a helper
thread would die with the thread; and nothing would remove the data.)
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def state_and_parent(pid: int) -> tuple[str, int]:
    """The process's state letter and its parent; a process that is gone counts as a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])


def children(pid: int) -> list[int]:
    """PostgreSQL serves each connection in a child, and each child leaves its process group."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if state_and_parent(child)[1] == pid]


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def pause(pid: int) -> list[int]:
    """Stop a server where it is. The parent goes first: from then on it makes no more children."""
    send([pid], signal.SIGSTOP)
    family = [pid, *children(pid)]
    send(family[1:], signal.SIGSTOP)
    return family


def resume(pid: int) -> None:
    send([*children(pid), pid], signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill a server and wait until its memory and its port are free again."""
    family = pause(pid)
    send(family, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(state_and_parent(one)[0] not in "ZX" for one in family):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {family} do not end")
        time.sleep(0.005)


class Watcher:
    """Removes a server's folder in the end, and kills the server if that was not done by then."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
            bufsize=0,
        )

    def guard(self, pid: int) -> None:
        self._tell(f"{pid}\n")

    def end(self) -> None:
        """Let it finish now; waiting for the pipe to close would also wait for forked children."""
        self._tell("end\n")
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())


def watch(folder: str) -> None:
    guarded: tuple[int, int] | None = None
    for line in sys.stdin:
        if line == "end\n":
            break
        with suppress(ProcessLookupError):  # a server that fails to start may be gone by now
            guarded = int(line), os.pidfd_open(int(line))
    if guarded is not None:
        pid, handle = guarded
        with suppress(ProcessLookupError):
            # The handle cannot mean a later process of the same number; the number could.
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            kill(pid)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
