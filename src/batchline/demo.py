"""`batchline demo`: predict 150 iris flowers with a temporary service."""

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
from batchline.processes import ChildProcesses
from batchline.progress import progress_bar

BATCH_WAIT_SECONDS = 2.0
"""The demo's `BATCH_WAIT_TIME`."""
TIMEOUT_SECONDS = 60.0
"""The demo fails if the service is not ready, or the predictions are not complete, in this time."""

WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs of this machine even if the environment sets a proxy."""

Flower = tuple[list[float], str]
"""The four measurements of a flower, and its species."""


class DemoFailed(Exception):
    """The service did not respond or predict in time."""


def run() -> int:
    """Run the demo. Return the exit status: 0 if every flower was predicted, else 1."""
    console = Console()
    flowers = read_flowers()
    with tempfile.TemporaryDirectory(prefix="batchline-demo-") as folder:
        port = _free_port()
        with ChildProcesses([["up"]], _environment(Path(folder), port)):
            service = f"http://127.0.0.1:{port}"
            try:
                _wait_until_ready(service)
                ids = _register(service, flowers)
                items = _wait_for_predictions(service, ids)
            except DemoFailed as error:
                console.print(f"[red]demo failed:[/red] {error}")
                return 1
    return _report(console, flowers, items)


def read_flowers() -> list[Flower]:
    """Return the 150 flowers of the iris data set. Measurements are in centimetres."""
    with IRIS_FLOWERS.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [([float(value) for value in row[:-1]], row[-1]) for row in rows]


def _environment(folder: Path, port: int) -> dict[str, str]:
    settings = read_settings(
        database_url=f"sqlite:///{folder / 'demo.db'}",
        host="127.0.0.1",
        port=port,
        batch_wait_time=BATCH_WAIT_SECONDS,
        worker_threads=2,
        model_filepath=IRIS_MODEL,
        label_filepath=IRIS_LABELS,
        auth="auto",
        allowed_hosts="",
        cors_origins="",
        log_level="WARNING",
        log_format="console",
    )
    return settings.environment()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            _call(f"{service}/health/ready")
            return
        except DemoFailed:
            time.sleep(0.1)
    raise DemoFailed(f"the service was not ready after {TIMEOUT_SECONDS:.0f} seconds")


def _register(service: str, flowers: list[Flower]) -> list[int]:
    with progress_bar("registering", len(flowers)) as advance:
        ids = []
        for measurements, _ in flowers:
            ids.append(_call(f"{service}/predict", {"data": [measurements]})["id"])
            advance(1)
    return ids


def _wait_for_predictions(service: str, ids: list[int]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with progress_bar("waiting for the batch job", len(ids)) as advance:
        while len(items) < len(ids):
            item = _call(f"{service}/predict/id/{ids[len(items)]}")
            if item["status"] != "pending":
                items.append(item)
                advance(1)
            elif time.monotonic() > deadline:
                seconds = f"{TIMEOUT_SECONDS:.0f} seconds"
                raise DemoFailed(f"{len(items)} of {len(ids)} items predicted after {seconds}")
            else:
                time.sleep(0.1)
    return items


def _call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with WITHOUT_PROXY.open(request, timeout=10) as response:
            return json.load(response)
    except OSError as error:
        raise DemoFailed(f"{request.get_method()} {url}: {error}") from error


def _report(console: Console, flowers: list[Flower], items: list[dict[str, Any]]) -> int:
    """Print the predictions next to the known species, and return the exit status."""
    table = Table(title="150 iris flowers", caption="measurements in centimetres")
    for title in ("id", "measurements", "known species", "prediction", "probability", ""):
        table.add_column(title, justify="right" if title in ("id", "probability") else "left")
    predicted = correct = 0
    for (measurements, species), item in zip(flowers, items, strict=True):
        probabilities = item["prediction"] or {}
        top = max(probabilities, key=probabilities.__getitem__, default="-")
        predicted += item["status"] == "succeeded"
        correct += top == species
        mark = "✓" if top == species else "[red]✗[/red]"
        probability = f"{probabilities[top]:.3f}" if probabilities else "-"
        shown = " ".join(f"{value:.1f}" for value in measurements)
        table.add_row(str(item["id"]), shown, species, top, probability, mark)
    console.print(table)
    total = len(flowers)
    console.print(f"{predicted} of {total} predicted, {correct} correct ({correct / total:.1%})")
    return 0 if predicted == total else 1
