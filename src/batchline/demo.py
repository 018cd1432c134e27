"""`batchline demo`: 150 real flowers through a service of its own."""

import csv
import json
import socket
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from batchline.configurations import read_settings
from batchline.constants import IRIS_FLOWERS, IRIS_LABELS, IRIS_MODEL
from batchline.processes import Children
from batchline.progress import progress_bar

WAIT_TIME = 2.0
"""Seconds between two runs in the demo."""
PATIENCE = 60.0
"""Seconds without any progress after which the demo gives up."""

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment is not for this machine's own address."""

Flower = tuple[list[float], str]


class DemoFailed(Exception):
    """The service did not do what the demo shows."""


def run() -> int:
    """Run the demo; the exit status: 0 only if every flower was predicted."""
    console = Console()
    flowers = read_flowers()
    with tempfile.TemporaryDirectory(prefix="batchline-demo-") as folder:
        port = _free_port()
        with Children([["up"]], _environment(Path(folder), port)):
            service = f"http://127.0.0.1:{port}"
            try:
                _wait_until_ready(service)
                ids = _register(service, flowers)
                answers = _wait_for_predictions(service, ids)
            except DemoFailed as error:
                console.print(f"[red]The demo failed:[/red] {error}")
                return 1
    return _report(console, flowers, answers)


def read_flowers() -> list[Flower]:
    """The 150 flowers of the iris data: four measures in centimetres, and the species."""
    with IRIS_FLOWERS.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [([float(measure) for measure in row[:-1]], row[-1]) for row in rows]


def _environment(folder: Path, port: int) -> dict[str, str]:
    settings = read_settings(
        database_url=f"sqlite:///{folder / 'demo.db'}",
        host="127.0.0.1",
        port=port,
        batch_wait_time=WAIT_TIME,
        worker_threads=2,
        model_filepath=IRIS_MODEL,
        label_filepath=IRIS_LABELS,
        log_level="WARNING",
        log_format="console",
    )
    return settings.environment()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            _call(f"{service}/health/ready")
            return
        except DemoFailed:
            time.sleep(0.1)
    raise DemoFailed("the service did not become ready")


def _register(service: str, flowers: list[Flower]) -> list[int]:
    with progress_bar("registering", len(flowers)) as advance:
        ids = []
        for measures, _ in flowers:
            ids.append(_call(f"{service}/predict", {"data": [measures]})["id"])
            advance(1)
    return ids


def _wait_for_predictions(service: str, ids: list[int]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    with progress_bar("waiting for the batch", len(ids)) as advance:
        while len(answers) < len(ids):
            answer = _call(f"{service}/predict/id/{ids[len(answers)]}")
            if answer["status"] != "pending":
                answers.append(answer)
                advance(1)
            elif time.monotonic() > deadline:
                raise DemoFailed(f"{len(answers)} of {len(ids)} were predicted in {PATIENCE:.0f} s")
            else:
                time.sleep(0.1)
    return answers


def _call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with DIRECTLY.open(request, timeout=10) as response:
            return json.load(response)
    except OSError as error:
        raise DemoFailed(f"{request.get_method()} {url}: {error}") from error


def _report(console: Console, flowers: list[Flower], answers: list[dict[str, Any]]) -> int:
    table = Table(title="150 iris flowers", caption="measures in centimetres")
    for title in ("id", "measures", "known species", "prediction", "probability", ""):
        table.add_column(title, justify="right" if title in ("id", "probability") else "left")
    predicted = right = 0
    for (measures, species), answer in zip(flowers, answers, strict=True):
        probabilities = answer["prediction"] or {}
        top = max(probabilities, key=probabilities.__getitem__, default="-")
        predicted += answer["status"] == "succeeded"
        right += top == species
        mark = "✓" if top == species else "[red]✗[/red]"
        probability = f"{probabilities[top]:.3f}" if probabilities else "-"
        shown = " ".join(f"{measure:.1f}" for measure in measures)
        table.add_row(str(answer["id"]), shown, species, top, probability, mark)
    console.print(table)
    total = len(flowers)
    console.print(f"{predicted} of {total} predicted, {right} right ({right / total:.1%})")
    return 0 if predicted == total else 1
