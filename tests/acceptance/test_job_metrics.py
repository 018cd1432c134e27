"""Prometheus reads the metrics of a job, whatever happens to its processes."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from batchline import metrics
from batchline.api_keys import Role
from devservers.server import free_port
from tests.acceptance.test_metrics import (
    Samples,
    assert_promtool_accepts,
    insert,
    parsed,
    read,
    without_late,
)
from tests.api import add_key, bearer
from tests.api_here import ApiHere
from tests.conftest import Servers
from tests.service import IRIS, Command, children_of, migrate, run, wait_for

SUCCEEDED = ("batchline_items_total", "default", "succeeded")
CONTRACT = {
    "batchline_items_pending",
    "batchline_oldest_pending_age_seconds",
    "batchline_late",
    "batchline_items_total",
    "batchline_failures_total",
    "batchline_rows_predicted_total",
    "batchline_jobs_alive",
    "batchline_rejections_total",
    "batchline_database_errors_total",
    "batchline_build_info",
    "batchline_registration_seconds",
    "batchline_model_call_seconds",
    "batchline_claim_seconds",
    "batchline_store_seconds",
}


class JobWithMetrics(Command):
    """`batchline job` with a port for metrics, and a client for it."""

    def __init__(self, url: str, **settings: str) -> None:
        self.port = port = free_port()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=30,
            limits=httpx.Limits(max_keepalive_connections=0),  # a killed process closes them
        )
        super().__init__(
            "job",
            DATABASE_URL=url,
            METRICS_PORT=str(port),
            **{"BATCH_WAIT_TIME": "0.2", **settings},
        )

    def __exit__(self, *exception: object) -> None:
        self.http.close()
        super().__exit__(*exception)

    def scrape(self) -> Samples:
        return parsed(self.http.get("/metrics"))

    def is_listening(self) -> bool:
        try:
            return self.http.get("/metrics").status_code > 0
        except httpx.TransportError:
            assert self.process.poll() is None, self.output
            return False

    def wait_for(self, key: tuple[str, ...], value: float) -> Samples:
        def found() -> Samples | None:
            samples = self.scrape()
            return samples if samples.get(key) == value else None

        wait_for(self.is_listening, "the port")
        return wait_for(found, f"{key} = {value}")


def test_all_metrics_have_the_promised_names() -> None:
    found = (*metrics.OF_DATABASE, metrics.BUILD_INFO, *metrics.OF_API, *metrics.OF_JOB)
    assert {each.name for each in found} == CONTRACT


@pytest.fixture(scope="module")
def idle(iris_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobWithMetrics]:
    """A job that listens, and has nothing to do."""
    folder = tmp_path_factory.mktemp("idle")
    with JobWithMetrics(f"sqlite:///{shutil.copy(iris_template, folder)}") as job:
        wait_for(job.is_listening, "the port")
        yield job


def test_what_a_job_may_count_later_is_0_before(idle: JobWithMetrics) -> None:
    found = idle.wait_for(SUCCEEDED, 0)
    assert found["batchline_items_total", "default", "failed"] == 0
    assert found["batchline_rows_predicted_total", "default"] == 0
    assert found["batchline_failures_total", "model_error"] == 0


def test_the_port_of_a_job_has_the_metrics_and_nothing_else(idle: JobWithMetrics) -> None:
    for method, path in (("POST", "/predict"), ("GET", "/items"), ("GET", "/docs")):
        assert idle.http.request(method, path).status_code == 404
    assert idle.http.get("/metrics", headers={"Host": "evil.example"}).status_code == 421


def test_a_port_that_is_taken_ends_a_job_with_a_hint(idle: JobWithMetrics, iris_url: str) -> None:
    done = run("job", DATABASE_URL=iris_url, METRICS_PORT=str(idle.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {idle.port}" in done.stderr
    assert "choose another port: METRICS_PORT=" in done.stderr


def test_job_once_does_not_listen(idle: JobWithMetrics, iris_url: str) -> None:
    """It is too short for Prometheus, and two of them may run at once."""
    done = run("job", "--once", DATABASE_URL=iris_url, METRICS_PORT=str(idle.port))
    assert done.returncode == 0, done.stderr


def test_a_job_counts_what_it_stores(iris_url: str) -> None:
    insert(iris_url, "default", "default", "default", "nobody-has-this")
    with JobWithMetrics(iris_url) as job, httpx.Client(base_url=job.http.base_url) as keeping:
        job.wait_for(("batchline_failures_total", "unknown_model"), 1)
        found = read(keeping)
        assert_promtool_accepts(keeping.get("/metrics"))
        job.send(signal.SIGTERM)
        assert job.wait() == 0  # although a client keeps its connection
    assert found[SUCCEEDED] == found["batchline_rows_predicted_total", "default"] == 3
    assert found["batchline_items_total", metrics.UNKNOWN_MODEL, "failed"] == 1
    assert "nobody-has-this" not in str(found)
    for name in ("model_call", "claim", "store"):
        assert found[f"batchline_{name}_seconds_count",] > 0
        assert found[f"batchline_{name}_seconds_sum",] > 0
    assert found["batchline_items_pending", "default"] == 0
    assert found["batchline_late",] == 0


@pytest.mark.parametrize("victim", ["worker", "metrics"])
def test_no_count_is_lost_when_a_process_is_killed(iris_url: str, victim: str) -> None:
    insert(iris_url, *["default"] * 5)
    with JobWithMetrics(iris_url) as job:
        before = job.wait_for(SUCCEEDED, 5)
        insert(iris_url, *["default"] * 2)
        job.wait_for(SUCCEEDED, 7)
        worker, answering = children_of(job.process.pid)
        os.kill(worker if victim == "worker" else answering, signal.SIGKILL)
        insert(iris_url, *["default"] * 10)
        counts = [job.scrape()[SUCCEEDED]]
        wait_for(lambda: counts.append(job.scrape()[SUCCEEDED]) or counts[-1] == 17, "the others")
        assert counts == sorted(counts)
        assert counts[0] >= 7
        calls = "batchline_model_call_seconds_count"
        assert job.scrape()[calls,] > before[calls,]
        assert "a process of the job died" in job.output


def test_a_job_tells_its_counts_while_its_database_is_down(servers: Servers) -> None:
    server = servers.get("postgresql")
    url = server.create_database()
    migrate(url)
    with ApiHere(url) as api:
        item_id = api.register(IRIS)
        with JobWithMetrics(url) as job:
            job.wait_for(SUCCEEDED, 1)
            assert api.read(item_id)["status"] == "succeeded"
            server.kill()
            try:
                found = wait_for(lambda: without_late(job.scrape()), "the outage")
                assert found[SUCCEEDED] == 1
                wait_for(lambda: job.scrape()["batchline_database_errors_total",] > 0, "an error")
                wait_for(lambda: len(outages(job)) == 2, "both processes to notice")
            finally:
                server.restart()
            wait_for(lambda: ("batchline_late",) in job.scrape(), "the recovery")
            assert len([line for line in outages(job) if "process=metrics" in line]) == 1
    server.drop_database(url)


def outages(job: JobWithMetrics) -> list[str]:
    return [line for line in job.output.splitlines() if "database unavailable" in line]


def test_a_job_that_other_machines_can_reach_asks_all_but_probes_for_a_key(iris_url: str) -> None:
    with JobWithMetrics(iris_url, HOST="0.0.0.0") as job:
        wait_for(job.is_listening, "the port")
        assert job.http.get("/metrics").status_code == 401
        probe = job.http.get("/health/live", headers={"Host": "10.1.2.3:8001"})
        assert (probe.status_code, probe.json()) == (200, {"status": "ok"})
        key = add_key(iris_url, Role.READ)
        wait_for(lambda: job.http.get("/metrics", headers=bearer(key)).is_success, "the key")
        assert job.http.get("/metrics").status_code == 401


def test_a_job_without_the_setting_does_not_listen(iris_url: str) -> None:
    with Command("job", DATABASE_URL=iris_url) as job:
        wait_for(lambda: "starting" in job.output, "the start")
        assert len(children_of(job.process.pid)) == 1


class ImpatientJob(JobWithMetrics):
    """A job that counts as hanging after two seconds instead of minutes."""

    program = (
        "-c",
        "import runpy; from batchline import constants; constants.SILENCE_LIMIT = 2.0;"
        " runpy.run_module('batchline', run_name='__main__')",
    )


def test_a_probe_fails_while_the_process_that_predicts_hangs(iris_url: str) -> None:
    insert(iris_url, "default")
    with ImpatientJob(iris_url) as job:
        job.wait_for(SUCCEEDED, 1)
        worker, _ = children_of(job.process.pid)
        wait_for(lambda: job.http.get("/health/live").status_code == 200, "life")
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: job.http.get("/health/live").status_code == 503, "the end of patience")
        assert job.http.get("/health/live").json()["code"] == "job_silent"
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: job.http.get("/health/live").status_code == 200, "life")
