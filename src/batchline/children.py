"""A copy of this process that does the work, so that it can end and be replaced."""

import gc
import os
import select
import signal
import threading
from dataclasses import dataclass

STOP_SECONDS = 5.0
"""Time for a process to stop after SIGTERM. Then it is killed."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that runs this program from here on.

    Args:
        ended: becomes readable once the process has ended.
        life: ends with this process. Then the child stops, too.
    """

    pid: int
    ended: int
    life: int

    def wait(self, seconds: float) -> int | None:
        """Wait for its end. Return its exit code or minus its signal, or None if it still runs."""
        if not select.select([self.ended], [], [], seconds)[0]:
            return None
        _, status = os.waitpid(self.pid, 0)
        self.close()
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Let go of it in a copy of this process, which is not its parent."""
        os.close(self.ended)
        os.close(self.life)

    def kill(self) -> int:
        """End it, and return minus the signal."""
        os.kill(self.pid, signal.SIGKILL)
        while (code := self.wait(STOP_SECONDS)) is None:
            pass  # it is in a call of the kernel that cannot be interrupted
        return code

    def stop(self) -> int:
        """Ask it to end, and kill it if it does not. Return as `wait` does."""
        os.kill(self.pid, signal.SIGTERM)
        code = self.wait(STOP_SECONDS)
        return self.kill() if code is None else code


def start(patience: float = STOP_SECONDS) -> Child | None:
    """Copy this process, which must have one thread. Return None in the copy.

    Args:
        patience: time for the copy to stop after the end of its parent. Then it is killed.

    Raises:
        OSError: the system has no memory or no number left for a process.
    """
    ended, working = os.pipe()
    living, life = os.pipe()
    gc.freeze()  # the copy need not look at what is there, since that would copy its pages
    # A signal that reaches the copy before its own handlers are set would be lost there.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for end in (ended, working, living, life):
            os.close(end)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(working)
        os.close(living)
        return Child(pid, ended, life)
    os.close(ended)
    os.close(life)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent stops it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    threading.Thread(target=_stop_when_closed, args=(living, patience), daemon=True).start()
    return None


def _stop_when_closed(living: int, patience: float) -> None:
    while os.read(living, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(patience)
    os.kill(os.getpid(), signal.SIGKILL)
