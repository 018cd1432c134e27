"""Measure what counting for Prometheus costs a registration and a job.

One process does the same work in turn with and without it, in turns so short that other programs
disturb both alike: 32 registrations at once, and one run of a job. Without it, `observe` and `add`
do nothing. Both turns read the clock, which takes 0.1 µs. The job has its least to do for each item
if the model takes many rows in one call, and counts most if each row is a call.
"""

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import onnx
from starlette.types import ASGIApp

from batchline.api.app import create_app
from batchline.api.server import guarded
from batchline.cli.exposure import rules_of
from batchline.configurations import read_settings
from batchline.constants import IRIS_LABELS, IRIS_MODEL
from batchline.db.database import Database
from batchline.metrics import Counter, Histogram
from batchline.task.job import Job
from batchline.task.run import Run
from benchmarks import product, results
from benchmarks.iris import make_items
from benchmarks.job import positive
from benchmarks.keys import AT_ONCE, register
from tests.jobs import make_job

ITEMS = {"batched": 2_000, "one_row_per_call": 300}
"""Items of one run, by the model."""
Pairs = Sequence[tuple[float, float]]
"""CPU seconds without and with metrics."""


def main() -> None:
    options = read_options()
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'metrics.db'}"
        product.prepare(url, make_items(1))
        found = {"registration": summary(asyncio.run(registrations(url, options.turns)), AT_ONCE)}
        models = {"batched": IRIS_MODEL, "one_row_per_call": one_row_model(Path(folder))}
        for name, model in models.items():
            url = f"sqlite:///{Path(folder) / name}.db"
            product.prepare(url, make_items(1))
            with closing(Database(url)) as database:
                job = make_job(database, model, IRIS_LABELS)
                pairs = runs(url, job, ITEMS[name], options.turns // 4)
            found[f"job_{name}"] = summary(pairs, ITEMS[name])
    for name, figures in found.items():
        print(name, ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    results.save("metrics", found, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--turns", type=positive, default=2_000, metavar="N")
    results.add_option(parser)
    return parser.parse_args()


def summary(pairs: Pairs, items: int) -> dict[str, float]:
    without, with_metrics = (median(each) / items for each in zip(*pairs, strict=True))
    return {
        "turns": len(pairs),
        "cpu_ratio": with_metrics / without,
        "cpu_ratio_of_pairs": median(counted / plain for plain, counted in pairs),
        "cpu_microseconds": without * 1e6,
        "cpu_microseconds_with_metrics": with_metrics * 1e6,
    }


@contextmanager
def without_metrics() -> Iterator[None]:
    def nothing(*values: object, **more: object) -> None:
        pass

    with patch.object(Histogram, "observe", nothing), patch.object(Counter, "add", nothing):
        yield


async def registrations(url: str, turns: int) -> Pairs:
    settings = read_settings(database_url=url, auth="off")
    app = create_app(settings)
    guarding = guarded(app, rules_of(settings))
    bodies = [json.dumps({"data": json.loads(data)}).encode() for data in make_items(AT_ONCE)]
    async with app.router.lifespan_context(app):
        pairs = []
        for turn in range(turns + 10):
            if turn % 2:
                plain, counted = await plainly(guarding, bodies), await counting(guarding, bodies)
            else:
                counted, plain = await counting(guarding, bodies), await plainly(guarding, bodies)
            pairs.append((plain, counted))
            if turn % 100 == 0:
                gc.collect()
        return pairs[10:]


async def plainly(app: ASGIApp, bodies: list[bytes]) -> float:
    with without_metrics():
        return await counting(app, bodies)


async def counting(app: ASGIApp, bodies: list[bytes]) -> float:
    fields = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    return (await register(app, fields, bodies)).cpu


def runs(url: str, job: Job, items: int, turns: int) -> Pairs:
    data = make_items(items)
    pairs = []
    for turn in range(turns + 4):
        if turn % 2:
            with without_metrics():
                plain = run(url, job, data)
            counted = run(url, job, data)
        else:
            counted = run(url, job, data)
            with without_metrics():
                plain = run(url, job, data)
        pairs.append((plain, counted))
        if turn % 20 == 0:
            gc.collect()
    return pairs[4:]


def run(url: str, job: Job, data: list[str]) -> float:
    """Return the CPU seconds of a run over these items."""
    product.register(url, data)
    began = time.process_time()
    outcome = Run(job, 1, lambda each: None).execute()
    seconds = time.process_time() - began
    assert outcome.succeeded >= len(data), outcome
    return seconds


def one_row_model(folder: Path) -> Path:
    """Write the iris model for one row in each call."""
    model = onnx.load(IRIS_MODEL)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, folder / "one_row.onnx")
    return folder / "one_row.onnx"


if __name__ == "__main__":
    main()
