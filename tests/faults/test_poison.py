"""The poison set: rows of every bad kind among good ones. Not one of the good ones may suffer."""

import json
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests import models
from tests.conftest import KINDS, SQLITE_AND_A_SERVER, first_of
from tests.faults import load
from tests.faults.conftest import Figures
from tests.in_process import run_here
from tests.service import Command, children_of, run

BYSTANDERS = 300
MEMORY = 600 * 2**20
"""Bytes in use at which a job is killed, as the kernel does it to who takes too many."""

HUGE = json.dumps([[1.0, 2.0]] * 10_001)
NESTED = "[" * 2_000 + "]" * 2_000
UNFIT = {
    "not JSON": ("oops", "invalid_json"),
    "NaN": ("[[NaN, 1]]", "invalid_json"),
    "infinity": ("[[1e999, 1]]", "invalid_json"),
    "too large for float32": ("[[1e39, 1]]", "invalid_data"),
    "wrong shape": ("[[1, 2, 3]]", "invalid_data"),
    "a flat row": ("[1, 2]", "invalid_data"),
    "wrong type": ('[["one", "two"]]', "invalid_data"),
    "null": ("[[null, 1]]", "invalid_data"),
    "a truth value": ("[[true, 1]]", "invalid_data"),
    "an object": ('{"data": [[1, 2]]}', "invalid_data"),
    "no rows": ("[]", "invalid_data"),
    "one bad row of three": ("[[1, 2], [1], [1, 2]]", "invalid_data"),
    "too many rows": (HUGE, "invalid_data"),
    "nested too deep": (NESTED, "invalid_json"),
    "larger than a body may be": ("[[1, 2]]" + " " * 9_000_000, "too_large"),
}


def store_among(database: Database, bystander: str, poison: list[str]) -> list[int]:
    """Poison spread over bystanders, registered by SQL; the ids of the poison."""
    ids: list[int] = []
    share = BYSTANDERS // len(poison)
    for bad in poison:
        batch = [bystander] * share + [bad]
        ids += database.transaction(lambda c, batch=batch: items.register(c, NewItems(batch)))[-1:]
    return ids


def codes(database: Database) -> dict[int, str]:
    return {row[0]: row[1] for row in load.read(database, "SELECT item_id, code FROM failures")}


def harmed(database: Database, poison: list[int]) -> int:
    """Items that failed or still wait although nothing is wrong with them."""
    unhappy = load.read(database, "SELECT id FROM items WHERE status <> 'succeeded'")
    return len({row[0] for row in unhappy} - set(poison))


def run_job_here(**settings: str) -> str:
    done = run_here("job", "--once", **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_job(**settings: str) -> str:
    done = run("job", "--once", timeout=110, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_job_in_little_memory(**settings: str) -> str:
    with Command("job", "--once", **settings) as job:
        while job.process.poll() is None:
            for worker in children_of(job.process.pid):
                if memory_of(worker) > MEMORY:
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.005)  # how often the kernel looks
        assert job.wait() == 0, job.output
        return job.output


def memory_of(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):  # it ended meanwhile
        return 0
    return int(pages) * resource.getpagesize()


def predict_all(url: str, model: Path, run_once: Callable[..., str] = run_job) -> list[str]:
    """Run the job until nothing is pending; how its processes died."""
    output = run_once(DATABASE_URL=url, MODEL_FILEPATH=str(model))
    return re.findall(r"process of the job died.*\bend=(\w+)", output)


@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_rows_that_the_signature_rejects_harm_nobody(
    database: Database, database_url: str, database_kind: str, tmp_path: Path, figures: Figures
) -> None:
    poison = store_among(database, "[[1, 2]]", [data for data, _ in UNFIT.values()])
    model = models.doubling(tmp_path / "m.onnx")
    assert predict_all(database_url, model, run_job_here) == []
    expected = [code for _, code in UNFIT.values()]
    assert codes(database) == dict(zip(poison, expected, strict=True))
    assert harmed(database, poison) == 0
    figures("poison", f"{database_kind}, rows", kinds=len(UNFIT), bystanders_harmed=0)


@pytest.mark.parametrize(
    ("make", "bystander", "bad", "code"),
    [
        (models.picky, "[[3]]", "[[77]]", "model_error"),
        (models.square_root, "[[4]]", "[[-4]]", "prediction_not_finite"),
        (models.greedy, "[[3]]", f"[[{2**50}]]", "model_error"),
    ],
    ids=["a model that raises", "a model that gives NaN", "a model that finds no memory"],
)
@pytest.mark.parametrize("database_kind", SQLITE_AND_A_SERVER, indirect=True)
def test_rows_at_which_the_model_fails_harm_nobody(
    make: Callable[[Path], Path],
    bystander: str,
    bad: str,
    code: str,
    database: Database,
    database_url: str,
    database_kind: str,
    tmp_path: Path,
    figures: Figures,
) -> None:
    poison = store_among(database, bystander, [bad] * 5)
    assert predict_all(database_url, make(tmp_path / "m.onnx"), run_job_here) == []
    assert codes(database) == dict.fromkeys(poison, code)
    assert harmed(database, poison) == 0
    figures("poison", f"{database_kind}, {make.__name__}", poison=5, bystanders_harmed=0)


@pytest.mark.parametrize(
    ("make", "bad", "run_once", "end"),
    [
        (models.deadly, "[[-1]]", run_job, "SIGFPE"),
        (models.greedy, f"[[{3 * 10**8}]]", run_job_in_little_memory, "SIGKILL"),
    ],
    ids=["a crash in native code", "out of memory"],
)
@pytest.mark.parametrize("database_kind", first_of(KINDS), indirect=True)
def test_rows_that_kill_the_process_harm_nobody(
    make: Callable[[Path], Path],
    bad: str,
    run_once: Callable[..., str],
    end: str,
    database: Database,
    database_url: str,
    database_kind: str,
    tmp_path: Path,
    figures: Figures,
) -> None:
    poison = store_among(database, "[[3]]", [bad])
    ends = predict_all(database_url, make(tmp_path / "m.onnx"), run_once)
    assert set(ends) == {end}
    assert codes(database) == dict.fromkeys(poison, "worker_crashed")
    assert harmed(database, poison) == 0
    figures(
        "poison",
        f"{database_kind}, {make.__name__}, killed",
        poison=1,
        deaths=len(ends),
        bystanders_harmed=0,
    )
