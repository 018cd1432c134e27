"""Run commands and modules as child processes that stop with their parent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

STOP_TIMEOUT = 25.0
"""Seconds for a child to stop after SIGTERM. Then it is killed."""
PARENT_PIPE = "BATCHLINE_PARENT_PIPE"
"""The environment variable with the file descriptor of the pipe that closes with the parent."""


class ChildProcesses:
    """`batchline` commands that run in parallel. They are stopped when the block is left.

    Each child reads from a pipe that only this process can write to. If this process is killed, the
    pipe closes, and each child stops.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_inheritable(self._read_end, True)
        self._commands = [" ".join(command) for command in commands]
        self._processes = [self._start(command, environment) for command in commands]

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        return _start(["batchline", *command], environment, self._read_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.close(self._write_end)
        os.close(self._read_end)

    def wait_for_first(self, stop: threading.Event) -> tuple[str, int] | None:
        """Return the command and the exit status of the first child that exits.

        Return None if `stop` is set before.
        """
        for process in self._processes:
            threading.Thread(target=_set_on_exit, args=(process, stop), daemon=True).start()
        stop.wait()
        ended = zip(self._commands, self.statuses(), strict=True)
        return next(((name, status) for name, status in ended if status is not None), None)

    def statuses(self) -> list[int | None]:
        """Return the exit status of each child, or None while it runs."""
        return [process.poll() for process in self._processes]


class AnsweringProcess:
    """A module in a child process, which answers each request with a line.

    Raises:
        OSError: the system has no memory or no number left for a process.
    """

    def __init__(self, module: str) -> None:
        read_end, self._write_end = os.pipe()
        try:
            self._process = _start([module], {}, read_end, pipe=subprocess.PIPE)
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, parts: Sequence[bytes | memoryview]) -> bytes:
        """Send a request and return the answer, or nothing if the process ended before."""
        with suppress(BrokenPipeError):
            for part in parts:
                self._requests.write(part)
            self._requests.flush()
        return self._answers.readline()

    def wait(self) -> int:
        """Wait for its end, and return its exit code or minus its signal."""
        code = self._process.wait()
        with suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        os.close(self._write_end)
        return code

    def kill(self) -> None:
        self._process.kill()
        self.wait()


def end_in_words(code: int) -> str:
    """Return how a process ended, by its exit code or minus its signal: `SIGSEGV`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # the names of real-time signals are not known
        return f"signal {-code}"


def _start(
    words: Sequence[str], environment: Mapping[str, str], read_end: int, pipe: int | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: do not import modules from the current folder, such as a file http.py.
        [sys.executable, "-P", "-m", *words],
        env={**os.environ, **environment, PARENT_PIPE: str(read_end)},
        pass_fds=[read_end],
        start_new_session=True,  # Ctrl-C reaches only this process, which stops the child once
        stdin=pipe,
        stdout=pipe,
    )


def parent_pipe() -> int | None:
    """Return the end of the pipe that closes with the parent, if this is a child process."""
    read_end = os.environ.pop(PARENT_PIPE, None)
    return None if read_end is None else int(read_end)


def _set_on_exit(process: subprocess.Popen[bytes], event: threading.Event) -> None:
    process.wait()
    event.set()


def stop_with_parent() -> None:
    """If this is a child process, send SIGTERM to it when its parent has exited."""
    read_end = parent_pipe()
    if read_end is not None:
        threading.Thread(target=_stop_when_closed, args=(read_end,), daemon=True).start()


def _stop_when_closed(read_end: int) -> None:
    while os.read(read_end, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
