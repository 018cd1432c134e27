"""Measure what counting for Prometheus costs a registration and a job.

One process does the same work three times in turn: without counting, with it, and without it once
more. The turns are so short that other programs disturb all alike: 32 registrations at once, and
one run of a job. The ratio of the two without it is 1, except for noise. Without it, `observe` and
`add` do nothing, but the clock is read, which takes 0.1 µs. A job counts most for each item if each
row is a call of the model.
"""

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import onnx

from batchline import logs
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
PLAIN, COUNTED, AGAIN = CONTENDERS = ("plain", "counted", "again")
Turn = Mapping[str, float]
"""CPU seconds of each contender."""


def main() -> None:
    options = read_options()
    gc.disable()
    logs.configure("WARNING", "console")
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
                turns = runs(url, job, ITEMS[name], options.turns // 10)
            found[f"job_{name}"] = summary(turns, ITEMS[name])
    for name, figures in found.items():
        print(name, ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    results.save("metrics", found, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--turns", type=positive, default=2_000, metavar="N")
    results.add_option(parser)
    return parser.parse_args()


def summary(turns: Sequence[Turn], items: int) -> dict[str, float]:
    plain = median(turn[PLAIN] for turn in turns) / items
    return {
        "turns": len(turns),
        "cpu_ratio": median(2 * turn[COUNTED] / (turn[PLAIN] + turn[AGAIN]) for turn in turns),
        "cpu_ratio_of_noise": median(turn[AGAIN] / turn[PLAIN] for turn in turns),
        "cpu_microseconds": plain * 1e6,
    }


def orders(turns: int, more: int) -> Iterator[tuple[str, ...]]:
    """Yield the contenders in an order that changes, and collect garbage between turns."""
    for turn in range(turns + more):
        first = turn % len(CONTENDERS)
        yield CONTENDERS[first:] + CONTENDERS[:first]
        if turn % 20 == 0:
            gc.collect()


@contextmanager
def counting(contender: str) -> Iterator[None]:
    def nothing(*values: object, **more: object) -> None:
        pass

    if contender == COUNTED:
        yield
        return
    with patch.object(Histogram, "observe", nothing), patch.object(Counter, "add", nothing):
        yield


async def registrations(url: str, turns: int) -> Sequence[Turn]:
    settings = read_settings(database_url=url, auth="off")
    app = create_app(settings)
    guarding = guarded(app, rules_of(settings))
    fields = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    bodies = [json.dumps({"data": json.loads(data)}).encode() for data in make_items(AT_ONCE)]
    found = []
    async with app.router.lifespan_context(app):
        for order in orders(turns, more=10):
            turn = {}
            for contender in order:
                with counting(contender):
                    turn[contender] = (await register(guarding, fields, bodies)).cpu
            found.append(turn)
    return found[10:]


def runs(url: str, job: Job, items: int, turns: int) -> Sequence[Turn]:
    data = make_items(items)
    found = []
    for order in orders(turns, more=4):
        turn = {}
        for contender in order:
            with counting(contender):
                turn[contender] = run(url, job, data)
        found.append(turn)
    return found[4:]


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
