"""The supervisor of a job, with children that do nothing but end in some way."""

import subprocess
import sys

import pytest

from tests.service import environment

SUPERVISE = """
import os, signal, sys, time
from batchline import logs
from batchline.task.supervisor import STOPPED, Supervisor

def work(assignment):
    assignment.board.started()
    is_suspects, is_first = assignment.role == "suspects", assignment.predecessor is None
    exec(sys.argv[1])

logs.configure("CRITICAL", "console")
supervisor = Supervisor(once=True)
status = supervisor.run(work)
board = supervisor.board
print(status, board.succeeded, board.failed, board.left)
"""
UNTIL_STOPPED = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
if is_suspects:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    assignment.count(succeeded=1)
else:
    assignment.board.report_suspects()
    assignment.board.leave(7)
    while assignment.board.succeeded == 0:
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGINT)
time.sleep(30)
"""
DIES_AFTER_A_SIGNAL = """
os.kill(os.getppid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGKILL)
"""
DIES_ONCE = """
if is_suspects:
    assignment.count(succeeded=10, failed=1)
elif is_first:
    assignment.count(succeeded=100)
    os.kill(os.getpid(), signal.SIGKILL)
else:
    assignment.count(succeeded=1000)
    while assignment.board.failed == 0:
        time.sleep(0.01)
"""
FINISHES = """
assignment.count(succeeded=1)
if is_suspects:
    time.sleep(30)
assignment.board.report_suspects()
while assignment.board.succeeded == 1:
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("work", "status", "counted"),
    [
        (UNTIL_STOPPED, 130, "1 0 7"),
        (DIES_AFTER_A_SIGNAL, 130, "0 0 None"),
        (DIES_ONCE, 0, "1110 1 None"),
        (FINISHES, 0, "2 0 None"),
    ],
    ids=["stopped with work left", "killed after the signal", "replaced", "finished"],
)
def test_the_last_process_tells_the_truth_about_all(work: str, status: int, counted: str) -> None:
    program = [sys.executable, "-c", SUPERVISE, work]
    done = subprocess.run(
        program, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"{status} {counted}\n", done.stderr
