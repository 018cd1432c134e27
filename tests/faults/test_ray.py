"""`batchline predict --engine ray` writes what the local engine writes, whatever dies meanwhile.

The cluster is real: two nodes with processes of their own, on this machine.
"""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests import models
from tests.acceptance.test_predict import predict
from tests.acceptance.test_predict_resume import children, content, numbers
from tests.in_process import run_here
from tests.service import environment, wait_for

pytestmark = pytest.mark.timeout(300)
ROWS = 10_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        found = Cluster(initialize_head=True, head_node_args=node())
        try:
            found.add_node(**node())
            yield found
        finally:
            found.shutdown()


def node() -> dict[str, Any]:
    return {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 1024 * 1024}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three CSV files with bad rows, and a model that takes seconds for them."""
    folder = tmp_path_factory.mktemp("sources")
    models.slow(folder / "slow.onnx")
    (folder / "in").mkdir()
    for file in range(3):
        lines = [
            f'{n},{"oops" if n % 4_000 == 70 else 60_000 + n % 7},"{n:0100}, {n:0100}"\n'
            for n in range(ROWS)
        ]
        (folder / "in" / f"{file}.csv").write_text("id,x,note\n" + "".join(lines))
    return folder


def words(sources: Path, target: object, cluster: Any = None) -> list[str]:
    given = [str(sources / "in"), "-o", str(target), "--model", str(sources / "slow.onnx")]
    return given if cluster is None else [*given, *on(cluster)]


def on(cluster: Any) -> list[str]:
    return ["--engine", "ray", "--ray-address", cluster.address]


def predicting(node: Any) -> list[int]:
    """The processes of a node whose actors predict a part now."""
    found = []
    for pid in children(node.all_processes["raylet"][0].process.pid):
        title = Path(f"/proc/{pid}/cmdline")
        if title.exists() and title.read_bytes().startswith(b"ray::PartPredictor.predict"):
            found.append(pid)
    return found


def anywhere(cluster: Any) -> list[int]:
    return [pid for node in cluster.list_all_nodes() for pid in predicting(node)]


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "batchline", "predict", *arguments]
    with subprocess.Popen(
        command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def saved(target: Path) -> bool:
    """Whether rows of an unfinished output are safe."""
    journal = target.parent / f".{target.name}.batchline" / "journal.jsonl"
    return journal.exists() and b'"parts"' in journal.read_bytes()


def ended(process: subprocess.Popen[str], status: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    return out, err


def said(err: str) -> str:
    """What a command wrote to stderr, without the lines that show progress."""
    return "".join(line for line in err.splitlines(True) if " predicting " not in line)


def test_the_output_is_that_of_the_local_engine_although_an_actor_is_killed(
    cluster: Any, sources: Path, tmp_path: Path
) -> None:
    local, target = tmp_path / "local.csv", tmp_path / "ray.csv"
    expected = predict(*words(sources, local), status=3)
    with started(words(sources, target, cluster)) as process:
        wait_for(lambda: saved(target), "a saved part", 60)
        pid = wait_for(lambda: anywhere(cluster), "a call of an actor", 60)[0]
        os.kill(pid, signal.SIGKILL)
        out, err = ended(process, status=3)
    assert (out, said(err)) == ("", said(expected.stderr).replace("local.csv", "ray.csv"))
    assert content(target) == content(local)


def test_an_address_without_a_cluster_is_an_error_that_names_it(
    sources: Path, tmp_path: Path
) -> None:
    away = ["--engine", "ray", "--ray-address", "127.0.0.1:1"]
    done = predict(*words(sources, tmp_path / "out.csv"), *away, status=1)
    assert "cannot connect to the Ray cluster 127.0.0.1:1: " in done.stderr
    assert "hint: name the address of its head with --ray-address" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_the_database_predicts_parquet_files_by_url(
    cluster: Any, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'batchline.db'}"}
    model = models.slow(tmp_path / "slow.onnx")
    for command in (["db", "upgrade"], ["models", "add", "slow", model]):
        assert run_here(*command, **settings).returncode == 0
    (tmp_path / "in").mkdir()
    for file in range(2):
        values = pa.table({"id": [1, 2, 3], "x": [1, 2, None]})
        parquet.write_table(values, tmp_path / "in" / f"{file}.parquet")
    url, target = f"file://{tmp_path}/in", tmp_path / "ray.csv"
    words = (url, "-o", target, "--model", "slow", "--model-columns", *on(cluster))
    done = predict(*words, status=3, **settings)
    assert "6 rows in" in done.stderr
    assert "2 with errors (2 not_a_number)" in done.stderr
    with target.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "x", "y", "error", "model", "version"]
    assert [(row[2], row[-2], row[-1]) for row in rows[1:]] == [
        (y, "slow", "1") for y in ["1", "2", ""] * 2
    ]


# The long form -----------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet", "folder/"])
def test_every_format_is_that_of_the_local_engine_although_a_node_is_killed(
    cluster: Any, sources: Path, tmp_path: Path, ending: str
) -> None:
    local, target = Path(f"{tmp_path}/local.{ending}"), Path(f"{tmp_path}/ray.{ending}")
    slash = "/" if ending == "folder/" else ""
    more = [*[str(sources / "in")] * 2, *(["--output-format", "csv"] if slash else [])]
    predict(*words(sources, f"{local}{slash}"), *more, status=3)
    doomed = cluster.add_node(**node())
    given = [*words(sources, f"{target}{slash}", cluster), *more, "--min-actors", "3"]
    with started(given) as process:
        wait_for(lambda: predicting(doomed), "a part on the third node", 60)
        cluster.remove_node(doomed, allow_graceful=False)
        ended(process, status=3)
    if ending == "parquet":
        assert target.read_bytes() == local.read_bytes()
    else:
        assert content(target) == content(local)


@pytest.mark.long
def test_the_rest_of_a_run_is_predicted_after_all_its_own_processes_were_killed(
    cluster: Any, sources: Path, tmp_path: Path
) -> None:
    local, target = tmp_path / "local.csv", tmp_path / "ray.csv"
    predict(*words(sources, local), status=3)
    with started(words(sources, target, cluster)) as process:
        wait_for(lambda: saved(target), "a saved part", 60)
        driver = children(process.pid)
        process.kill()
        for pid in driver:
            os.kill(pid, signal.SIGKILL)
    predict(*words(sources, target, cluster), "--resume", status=3)
    assert target.read_bytes() == local.read_bytes()


@pytest.mark.long
def test_a_row_that_ends_the_process_gets_the_error_that_the_local_engine_gives(
    cluster: Any, tmp_path: Path
) -> None:
    model = models.deadly(tmp_path / "deadly.onnx")
    values = [n % 90 + 1 for n in range(3_000)]
    values[1234] = -1
    source = numbers(tmp_path / "in.csv", *values)
    local, target = tmp_path / "local.csv", tmp_path / "ray.csv"
    predict(source, "-o", local, "--model", model, status=3)
    done = predict(source, "-o", target, "--model", model, *on(cluster), status=3)
    assert "worker_crashed" in done.stderr
    assert "SIGFPE" in done.stderr
    assert target.read_bytes() == local.read_bytes()


@pytest.mark.long
def test_a_row_that_takes_too_long_gets_the_error_that_the_local_engine_gives(
    cluster: Any, tmp_path: Path
) -> None:
    model = models.unstoppable(tmp_path / "unstoppable.onnx")
    source = numbers(tmp_path / "in.csv", 1, 2, 2_000_000, 3)
    local, target = tmp_path / "local.csv", tmp_path / "ray.csv"
    limit = {"MODEL_TIMEOUT": "3"}
    predict(source, "-o", local, "--model", model, status=3, **limit)
    done = predict(source, "-o", target, "--model", model, *on(cluster), status=3, **limit)
    assert "timed_out" in done.stderr
    assert target.read_bytes() == local.read_bytes()
