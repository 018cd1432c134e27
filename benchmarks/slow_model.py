"""Measure Batchline with a slow model: its overhead, and the speed-up by a second job.

The model is a dense network that takes about a millisecond per row and core. For the overhead,
`onnxruntime` alone predicts the same rows in memory, with its best batch size and all cores. For
the speed-up, two jobs with one core and one worker thread each share a backlog, compared with one
such job.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper, save
from onnx.helper import make_node, make_tensor_value_info

from benchmarks import product, results
from benchmarks.classifier import WrongResults
from benchmarks.job import databases, known_databases, positive

LAYERS, WIDTH, FEATURES = 20, 2_048, 4
BATCHES = (16, 64, 256, 1_024)


def main() -> None:
    options = read_options()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        model = make_model(Path(folder) / "slow.onnx")
        alone = best_alone(model, options.rows)
        print(f"onnxruntime alone: {alone:,.0f} rows/s, {1000 / alone:.2f} ms per row", flush=True)
        for name in options.databases:
            with databases(name) as (new_database, version):
                rates = [
                    (
                        predict(new_database(), model, options.rows, cores=[None]),
                        predict(new_database(), model, options.rows, cores=[0]),
                        predict(new_database(), model, options.rows, cores=[0, 1]),
                    )
                    for _ in range(options.rounds)
                ]
            figures[name] = {
                "version": version,
                "product_to_onnxruntime": round(median(p / alone for p, _, _ in rates), 2),
                "two_jobs_to_one": round(median(two / one for _, one, two in rates), 2),
            }
            print(name, json.dumps(figures[name]), flush=True)
    conditions = {
        "rows": options.rows,
        "rounds": options.rounds,
        "ms_a_row": round(1000 / alone, 2),
    }
    results.save("slow_model", {"conditions": conditions, "databases": figures}, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_model", description=__doc__)
    parser.add_argument("--rows", type=positive, default=40_000, metavar="N")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N")
    parser.add_argument("--databases", type=known_databases, default="sqlite,mysql")
    results.add_option(parser)
    return parser.parse_args()


def make_model(path: Path) -> Path:
    """Write a dense network for rows of four floats. All of its layers share their weights."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(0, 0.5, (FEATURES, WIDTH)),
        "layer": random.normal(0, 1 / WIDTH**0.5, (WIDTH, WIDTH)),
        "last": random.normal(0, 1 / WIDTH**0.5, (WIDTH, 1)),
    }
    nodes = [make_node("MatMul", ["x", "first"], ["h0"])]
    for number in range(LAYERS):
        nodes.append(make_node("MatMul", [f"h{number}", "layer"], [f"m{number}"]))
        nodes.append(make_node("Tanh", [f"m{number}"], [f"h{number + 1}"]))
    nodes.append(make_node("MatMul", [f"h{LAYERS}", "last"], ["y"]))
    constants = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    x = make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])
    y = make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "slow", [x], [y], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def rows_of(count: int) -> list[list[float]]:
    return np.random.default_rng(1).normal(0, 1, (count, FEATURES)).round(3).tolist()


def best_alone(model: Path, count: int) -> float:
    """Return the rows per second of `session.run` with the best of several batch sizes."""
    return max(Alone(model, count).rates().values())


class Alone:
    """`session.run` over rows in memory."""

    def __init__(self, model: Path, count: int) -> None:
        self._session = ort.InferenceSession(model)
        self._rows = np.array(rows_of(count), np.float32)
        self._best = 0

    def rates(self) -> dict[int, float]:
        """Return the rows per second of each batch size, over a part of the rows each."""
        part = len(self._rows) // len(BATCHES)
        return {batch: self._rate(batch, max(batch, part)) for batch in BATCHES}

    def rate(self) -> float:
        """Return the rows per second of the best batch size, which the first call finds."""
        if not self._best:
            found = {batch: self._rate(batch, 2 * max(BATCHES)) for batch in BATCHES}
            self._best = max(found, key=found.__getitem__)
        return self._rate(self._best, 4 * max(BATCHES))

    def _rate(self, batch: int, count: int) -> float:
        part = self._rows[:count]
        started = time.perf_counter()
        for start in range(0, len(part), batch):
            self._session.run(None, {"x": part[start : start + batch]})
        return len(part) / (time.perf_counter() - started)


def predict(url: str, model: Path, count: int, cores: list[int | None]) -> float:
    """Return the rows per second of one job for each entry of `cores`, including its start.

    Args:
        cores: the core of each job. None means any core.
    """
    environment = {"MODEL_FILEPATH": str(model)}
    product.prepare(url, [json.dumps([row]) for row in rows_of(count)], **environment)
    started = time.perf_counter()
    jobs = [start_job(url, core, environment) for core in cores]
    if any(job.wait() for job in jobs):
        raise RuntimeError("a job failed")
    seconds = time.perf_counter() - started
    if product.count_predictions(url) != count:
        raise WrongResults(f"some of {count} rows have no prediction")
    return count / seconds


def start_job(url: str, core: int | None, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    threads = {} if core is None else {"WORKER_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "batchline", "job", "--once"],
        env=product.environment(url) | environment | threads,
        stdout=subprocess.DEVNULL,
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    return process


if __name__ == "__main__":
    main()
