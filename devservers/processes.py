"""Find, pause and kill the processes of a server, and clean up after it.

Run as a program, this file is the watcher of one server. It reads from a pipe. When the process
that started the server exits, even by kill -9, the pipe closes. Then the watcher kills the server
and removes its folder.

PR_SET_PDEATHSIG is no alternative: it depends on the thread that started the server, so a server
restarted from another thread would die with that thread, and nothing would remove the data.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE = 30
"""Seconds in which the processes of a server stop."""


def state_and_parent(pid: int) -> tuple[str, int]:
    """Return the process's state letter and its parent. A missing process counts as a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])


def children(pid: int) -> list[int]:
    """Return the child processes. PostgreSQL has one per connection, in another process group."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if state_and_parent(child)[1] == pid]


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def pause(pid: int) -> list[int]:
    """Pause a server and return its processes. The paused parent cannot start more children."""
    send([pid], signal.SIGSTOP)
    _wait_until([pid], _is_still)
    family = [pid, *children(pid)]
    send(family[1:], signal.SIGSTOP)
    _wait_until(family, _is_still)
    return family


def resume(pid: int) -> None:
    send([*children(pid), pid], signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill a server and wait until its memory and its port are free again."""
    family = pause(pid)
    send(family, signal.SIGKILL)
    _wait_until(family, lambda one: state_and_parent(one)[0] in "ZX")


def _is_still(pid: int) -> bool:
    """Return whether no thread runs. On a busy machine, threads go on after SIGSTOP was sent."""
    with suppress(OSError):
        threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
        return all(state_and_parent(thread)[0] in "TtZX" for thread in threads)
    return True


def _wait_until(family: list[int], condition: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(condition(one) for one in family):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the processes {family} did not stop within {PATIENCE} seconds")
        time.sleep(0.005)


class Watcher:
    """Kills a server that is still running at the end, and removes its folder."""

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
        """Clean up now. Forked children may keep the pipe open."""
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
        with suppress(ProcessLookupError):  # a server that fails to start may have exited
            guarded = int(line), os.pidfd_open(int(line))
    if guarded is not None:
        pid, handle = guarded
        with suppress(ProcessLookupError):
            # The pid may belong to a later process by now, but the handle cannot.
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            kill(pid)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
