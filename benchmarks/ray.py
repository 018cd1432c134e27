"""`batchline predict --engine ray` against plain Ray Data code on the same files.

Whole processes, in pairs, on one local cluster of two nodes. Both read a folder of CSV files,
predict it with the iris model in actors, and write CSV.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchline.constants import IRIS_LABELS, IRIS_MODEL

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FILES = 8
LIMIT = 1.15
PLAIN = f"""
import sys
import numpy as np
import onnxruntime
import ray

class Model:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)

    def __call__(self, batch):
        names = {NAMES!r}
        x = np.stack([batch[name] for name in names], axis=1).astype(np.float32)
        found = self.session.run(None, {{self.session.get_inputs()[0].name: x}})
        probabilities = found[-1]
        if isinstance(probabilities, list):
            probabilities = np.array([list(row.values()) for row in probabilities], np.float32)
        batch["label"] = np.asarray(found[0])
        for place in range(probabilities.shape[1]):
            batch[f"probability_{{place}}"] = probabilities[:, place]
        return batch

source, target, model, address = sys.argv[1:]
ray.init(address, log_to_driver=False, logging_level=40)
context = ray.data.DataContext.get_current()
context.enable_progress_bars = False
context.execution_options.preserve_order = True
rows = ray.data.read_csv(source)
rows = rows.map_batches(
    Model, fn_constructor_args=(model,), batch_size=65536, num_cpus=0.5,
    compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
)
rows.write_csv(target)
"""


def write_files(folder: Path, rows: int) -> None:
    folder.mkdir()
    for file in range(FILES):
        with (folder / f"{file}.csv").open("w") as out:
            out.write(",".join(["id", *NAMES]) + "\n")
            for n in range(file * rows // FILES, (file + 1) * rows // FILES):
                out.write(f"{n},{4 + n % 40 / 10},{2 + n % 24 / 10},{1 + n % 59 / 10},0.2\n")


def seconds(command: list[str], target: Path) -> float:
    shutil.rmtree(target, ignore_errors=True)
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    taken = time.monotonic() - began
    assert any(target.iterdir())
    return taken


def measure(folder: Path, rows: int, pairs: int, address: str) -> None:
    source, target, script = folder / "in", folder / "out", folder / "plain.py"
    write_files(source, rows)
    script.write_text(PLAIN)
    plain = [sys.executable, str(script), str(source), str(target), str(IRIS_MODEL), address]
    ours = [sys.executable, "-m", "batchline", "predict", f"{source}/", "-o", f"{target}/"]
    ours += ["--model", str(IRIS_MODEL), "--labels", str(IRIS_LABELS), "--columns", ",".join(NAMES)]
    ours += ["--engine", "ray", "--ray-address", address, "--max-actors", "2"]
    ratios = []
    for _ in range(pairs):
        ray_data, batchline = seconds(plain, target), seconds(ours, target)
        ratios.append(batchline / ray_data)
        print(f"Ray Data {ray_data:.1f} s, Batchline {batchline:.1f} s, ratio {ratios[-1]:.2f}")
    median = statistics.median(ratios)
    print(f"{rows:,} rows, median ratio {median:.2f}, limit {LIMIT}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = f"{sys.prefix}/pandas"  # Ray Data imports it in all processes
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), given.rows, given.pairs, cluster.address)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
