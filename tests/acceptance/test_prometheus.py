"""A real Prometheus scrapes with an API key, and evaluates the alerts."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from devservers.prometheus import find_prometheus
from devservers.server import free_port
from tests.acceptance.test_metrics import insert
from tests.conftest import available
from tests.in_process import run_here
from tests.service import PATIENCE, Service, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


class Prometheus:
    """Its HTTP API."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", timeout=PATIENCE, trust_env=False
        )

    def is_ready(self) -> bool:
        try:
            return self.http.get("/status/buildinfo").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        response = self.http.get(path, params=parameters)
        assert response.status_code == 200, response.text
        return dict(response.json()["data"])

    def health(self, instance: str) -> tuple[str, ...]:
        """The health and the last error of a target, once it was scraped."""
        for each in self.get("/targets")["activeTargets"]:
            if each["labels"]["instance"] == instance and each["health"] != "unknown":
                return each["health"], each["lastError"]
        return ()

    def ask(self, query: str) -> dict[str, float]:
        """The values of a query by instance."""
        found = self.get("/query", query=query)["result"]
        return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}

    def alerts(self) -> dict[str, str]:
        """The state of each alert."""
        [group] = self.get("/rules")["groups"]
        assert all(rule["health"] != "err" for rule in group["rules"])
        return {rule["name"]: rule["state"] for rule in group["rules"]}


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """Prometheus with the example's files in this folder, with other targets and more haste."""
    shutil.copytree(DEPLOY, folder, dirs_exist_ok=True)
    config = folder / "prometheus.yaml"
    text = config.read_text().replace("15s", "1s")
    for example, target in targets.items():
        assert example in text
        text = text.replace(example, target)
    config.write_text(text)
    port = free_port()
    with available("prometheus"):
        program = find_prometheus()
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        server = Prometheus(port)
        try:
            wait_for(server.is_ready, "the start of Prometheus")
            yield server
        finally:
            server.http.close()
            process.kill()
            process.wait()


def test_prometheus_scrapes_api_and_job_with_a_key_and_says_what_is_wrong_without_one(
    iris_url: str, tmp_path: Path
) -> None:
    words = ["keys", "create", "prometheus", "--role", "read", "--key-file"]
    done = run_here(*words, str(tmp_path / "api-key"), DATABASE_URL=iris_url)
    assert done.returncode == 0, done.stderr
    metrics_port = free_port()
    settings = {"AUTH": "on", "METRICS_PORT": str(metrics_port), "BATCH_WAIT_TIME": "0.2"}
    with Service(iris_url, **settings) as service:
        api, job = f"127.0.0.1:{service.port}", f"127.0.0.1:{metrics_port}"
        with prometheus(tmp_path, {"127.0.0.1:8000": api, "127.0.0.1:8001": job}) as server:
            wait_for(lambda: server.health(api) == server.health(job) == ("up", ""), "scrapes")
            wait_for(lambda: server.ask("batchline_late") == {api: 0, job: 0}, "a value of both")
            wait_for(lambda: server.ask("batchline_jobs_alive") == {api: 1, job: 1}, "the job")
            wait_for(lambda: set(server.alerts().values()) == {"inactive"}, "the rules")
            insert(iris_url, "nobody-has-this")
            wait_for(lambda: server.alerts()["BatchlineItemsFail"] == "pending", "an alert")
            (tmp_path / "api-key").write_text("bl_another")
            wait_for(lambda: "401" in server.health(api)[1], "a scrape without a key")
            wait_for(lambda: server.alerts()["BatchlineMetricsMissing"] == "pending", "an alert")
