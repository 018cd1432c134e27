"""Compare seven named columns of numbers and strings with the four numbers of an iris flower.

Both models (benchmarks/mixed.py, benchmarks/iris.py) go through the same contenders in each round:

- the plain script (benchmarks/plain_script.py) and the command `batchline job --once`;
- `batchline api`, which receives a file of lines at `POST /items`, and then single rows at
  `POST /predict`.

The figures are items per second, and microseconds of CPU time per item in Batchline's own process.
A row has seven values, or four with iris, so the speed per value is the one to compare: the ratio
"mixed to iris" is the CPU time per value with iris, divided by that with seven columns.
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from benchmarks import http_load, iris, mixed, plain_script, product, results
from benchmarks.bulk import check_response, send
from benchmarks.classifier import Classifier, check
from benchmarks.http_load import Load, post
from benchmarks.job import NewDatabase, databases, known_databases, positive
from tests.service import Service

POSTED = 1_000
"""Different requests that the clients of `POST /predict` send."""
CLIENTS = 32
WARM_UP_LINES = 10_000
KINDS = ("script", "job", "upload", "predict")

EPILOG = """\
A quick run on one database: --items 20000 --rounds 1 --databases sqlite
The benchmark starts and stops its own servers. `python -m devservers fetch` downloads them. The
results are saved under "columns".
"""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Contest:
    """A model, items of one row for it, and the number of values in a row."""

    load: Callable[[], Classifier]
    items: list[str]
    values: int
    settings: dict[str, str]

    def lines(self, count: int) -> bytes:
        return "".join(f'{{"data":{data}}}\n' for data in self.items[:count]).encode()


def main() -> None:
    options = read_options()
    found: dict[str, Any] = {"conditions": conditions(options), "databases": {}}
    print(f"{options.items:,} items of one row, medians of {options.rounds} round(s)\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="columns-") as folder:
        contests = make_contests(options.items, Path(folder))
        for name in options.databases:
            with databases(name) as (new_database, server):
                rounds = [
                    measure(new_database, contests, options, turn) for turn in range(options.rounds)
                ]
            found["databases"][name] = {"version": server, **summary(rounds, contests)}
            print(table(name, found["databases"][name]), end="\n\n", flush=True)
    results.save("columns", found, options.results)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.columns",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    numbers = {
        "items": (50_000, "items of one row for each model"),
        "seconds": (4, "seconds of requests to POST /predict, of which 0.5 do not count"),
        "rounds": (3, "rounds on each database; medians are reported"),
    }
    for name, (default, told) in numbers.items():
        told += " (default: %(default)s)"
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=told)
    parser.add_argument(
        "--databases",
        type=known_databases,
        default="sqlite,mysql,mariadb,postgresql",
        metavar="NAMES",
        help="some of sqlite,mysql,mariadb,postgresql (default: %(default)s)",
    )
    results.add_option(parser)
    return parser.parse_args()


def make_contests(items: int, folder: Path) -> dict[str, Contest]:
    """Return both models with their items, as the API stores them."""
    file = folder / "mixed.onnx"
    file.write_bytes(mixed.onnx_file())
    flowers = [orjson.dumps(orjson.loads(data)).decode() for data in iris.make_items(items)]
    settings = {"MODEL_FILEPATH": str(file)}
    people = mixed.make_items(items)
    return {
        "iris": Contest(iris.load, flowers, 4, {}),
        "mixed": Contest(mixed.load, people, len(mixed.COLUMNS), settings),
    }


# Contenders ------------------------------------------------------------------------------------


def measure(
    new_database: NewDatabase,
    contests: dict[str, Contest],
    options: argparse.Namespace,
    turn: int,
) -> dict[str, Figures]:
    """Return the figures of both models, one contender after the other.

    The models take turns within each contender, and each round begins with the other model.
    """
    figures: dict[str, Figures] = {name: {} for name in contests}
    names = list(contests)[:: -1 if turn % 2 else 1]
    for contender in script, job, api:
        for name in names:
            figures[name].update(contender(new_database(), contests[name], options))
    return figures


def script(url: str, contest: Contest, _: argparse.Namespace) -> Figures:
    plain_script.prepare(url, contest.items)
    before = time.process_time()
    seconds = plain_script.run(url, contest.load)
    cpu = time.process_time() - before
    check(plain_script.stored_items(url), len(contest.items), contest.load())
    return _figures("script", len(contest.items), seconds, cpu)


def job(url: str, contest: Contest, _: argparse.Namespace) -> Figures:
    """Measure a run of the job. Its CPU time is without that of a run for one item."""
    product.prepare(url, contest.items[:1], **contest.settings)
    _, to_start = _run_job(url, contest)
    product.register(url, contest.items[1:])
    before = product.seconds_in_runs(url)
    _, cpu = _run_job(url, contest)
    check(product.stored_items(url), len(contest.items), contest.load())
    seconds = product.seconds_in_runs(url) - before
    return _figures("job", len(contest.items), seconds, cpu - to_start)


def _run_job(url: str, contest: Contest) -> tuple[product.Seconds, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = product.run(url, **contest.settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def api(url: str, contest: Contest, options: argparse.Namespace) -> Figures:
    """Measure an upload of all items, then requests for one row each."""
    product.prepare(url, contest.items[:1], **contest.settings)
    with Service(url, "api") as service:
        send(service.port, contest.lines(WARM_UP_LINES))
        before, started = cpu_seconds(service.process.pid), time.perf_counter()
        response = send(service.port, contest.lines(len(contest.items)))
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(service.process.pid) - before
        check_response(url, response, contest.items)
        return {
            **_figures("upload", len(contest.items), seconds, cpu),
            **predict(service, contest, options),
        }


def predict(service: Service, contest: Contest, options: argparse.Namespace) -> Figures:
    requests = [post("/predict", f'{{"data":{data}}}') for data in contest.items[:POSTED]]
    before = cpu_seconds(service.process.pid)
    load = Load(service.port, CLIENTS, requests, 202, options.seconds)
    measured = http_load.run(load)
    cpu = cpu_seconds(service.process.pid) - before
    sent = len(measured.bodies)
    return _figures("predict", sent, sent / measured.per_second, cpu)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process so far, on Linux."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = map(int, after_name[11:13])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def _figures(kind: str, items: int, seconds: float, cpu: float) -> Figures:
    return {f"{kind}_per_second": items / seconds, f"{kind}_cpu": cpu / items * 1e6}


# Results ---------------------------------------------------------------------------------------


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "items": options.items,
        "clients": CLIENTS,
        "rounds": options.rounds,
    }


def summary(rounds: Sequence[dict[str, Figures]], contests: dict[str, Contest]) -> dict[str, Any]:
    """Return the ratios' medians, and for each model the medians of its figures."""
    more_values = contests["mixed"].values / contests["iris"].values

    def per_value(each: dict[str, Figures], kind: str) -> float:
        return each["iris"][f"{kind}_cpu"] * more_values / each["mixed"][f"{kind}_cpu"]

    def job_to_script(each: Figures) -> float:
        return each["job_per_second"] / each["script_per_second"]

    mixed_to_iris = {
        kind: round(median(per_value(each, kind) for each in rounds), 2) for kind in KINDS
    }
    models = {}
    for name in contests:
        figures = [each[name] for each in rounds]
        models[name] = {
            "job_to_script": round(median(map(job_to_script, figures)), 2),
            **{key: round(median(each[key] for each in figures), 1) for key in figures[0]},
        }
    each_round = [
        {
            name: {key: round(value, 1) for key, value in figures.items()}
            for name, figures in e.items()
        }
        for e in rounds
    ]
    return {"mixed_to_iris": mixed_to_iris, **models, "rounds": each_round}


def table(name: str, found: dict[str, Any]) -> str:
    lines = [f"{name} {found['version']}"]
    for kind in KINDS:
        lines.append(f"  {kind}: mixed to iris per value {found['mixed_to_iris'][kind]:.2f} x")
        for model in ("iris", "mixed"):
            rate, cpu = found[model][f"{kind}_per_second"], found[model][f"{kind}_cpu"]
            lines.append(f"    {model:<8}{rate:>12,.0f} items/s{cpu:>10.2f} µs of CPU per item")
    for model in ("iris", "mixed"):
        ratio = found[model]["job_to_script"]
        lines.append(f"  job / script with {model}: {ratio:.2f} x")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
