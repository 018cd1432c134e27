"""Prometheus reads what each process counts, and how the service is doing."""

import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing

import httpx
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as strict

from batchline import __version__, metrics
from batchline.api_keys import Role
from batchline.metrics import own
from devservers.prometheus import find_promtool
from tests.acceptance.test_hung_database import let_in, server
from tests.api import Client, add_key, api, bearer
from tests.api_here import ApiHere
from tests.conftest import Servers
from tests.service import IRIS, migrate, wait_for

Samples = Mapping[tuple[str, ...], float]

OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def parsed(response: httpx.Response) -> Samples:
    """The values of the samples, by their name and the values of their labels."""
    assert response.status_code == 200, response.text
    of = strict if response.headers["content-type"].startswith("application/open") else parser
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in of.text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert found
    return found


def read(client: Client | httpx.Client, **headers: str) -> Samples:
    """The metrics in both formats, which must agree, once the database has answered."""

    def is_complete() -> bool:
        return ("batchline_late",) in parsed(client.get("/metrics", headers=headers))

    wait_for(is_complete, "an answer of the database within a second")
    plain = parsed(client.get("/metrics", headers=headers))
    found = parsed(client.get("/metrics", headers={**OPEN_METRICS, **headers}))
    assert found.keys() == plain.keys()
    return found


def assert_promtool_accepts(response: httpx.Response) -> None:
    command = [find_promtool(), "check", "metrics"]
    done = subprocess.run(command, input=response.content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def more(before: Samples, after: Samples) -> Samples:
    """The samples that have grown, with their growth."""
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    return {key: value for key, value in grown.items() if value}


def insert(url: str, *models: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        statement = "INSERT INTO items (data, model) VALUES ('[[5.1, 3.5, 1.4, 0.2]]', ?)"
        connection.executemany(statement, [[model] for model in models])


def test_the_api_counts_registrations_and_rejections(iris_url: str) -> None:
    with ApiHere(iris_url) as service:
        before = read(service.http)
        for _ in range(3):
            service.register(IRIS)
        service.http.post("/predict", json={"data": [[1.0]]})
        service.http.post("/predict", json={"data": [IRIS], "model": "nobody-has-this"})
        service.http.post("/items", content=b'{"data": [[1, 2, 3, 4]]}\n{"data": 1}\n{"data": 2}\n')
        grown = more(before, read(service.http))
        assert_promtool_accepts(service.http.get("/metrics"))
    assert grown["batchline_registration_seconds_count",] == 3
    assert grown["batchline_registration_seconds_bucket", "60.0"] == 3
    assert 0 < grown["batchline_registration_seconds_sum",] < 60
    assert grown["batchline_rejections_total", "invalid_data"] == 3
    assert grown["batchline_rejections_total", "unknown_model"] == 1


def test_a_probe_that_is_told_about_trouble_is_no_rejected_request(iris_url: str) -> None:
    with sqlite3.connect(iris_url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "INSERT INTO items (data, created_at) VALUES ('', '2001-01-01 00:00:00')"
        )
    with ApiHere(iris_url) as service:
        before = read(service.http)
        assert service.http.get("/health/batch").status_code == 503
        assert service.http.get("/nothing").status_code == 404
        grown = more(before, read(service.http))
    rejected = {key[1] for key in grown if key[0] == "batchline_rejections_total"}
    assert rejected == {"not_found"}


def test_the_api_tells_how_the_service_is_doing(iris_url: str) -> None:
    insert(iris_url, "default", "default")
    with ApiHere(iris_url) as service:
        found = read(service.http)
    assert found["batchline_items_pending", "default"] == 2
    assert 0 <= found["batchline_oldest_pending_age_seconds", "default"] < 60
    assert found["batchline_late",] == found["batchline_jobs_alive",] == 0
    assert found["batchline_build_info", __version__] == 1


def test_predictions_that_are_late_are_a_metric(iris_url: str) -> None:
    insert(iris_url, "default")
    with ApiHere(iris_url, LATE_AFTER="0.001") as service:
        assert read(service.http)["batchline_late",] == 1


def test_names_of_models_that_clients_invent_are_no_labels(iris_url: str) -> None:
    invented = [f"nobody-has-{number}" for number in range(50)]
    insert(iris_url, *invented, '"}\nbatchline_late 1')
    with ApiHere(iris_url) as service:
        for name in invented:
            service.http.post("/predict", json={"data": [IRIS], "model": name})
        found = read(service.http)
    models = {key[1] for key in found if key[0] == "batchline_items_pending"}
    assert models == {"default", metrics.UNKNOWN_MODEL}
    assert found["batchline_items_pending", metrics.UNKNOWN_MODEL] == 51
    assert "nobody-has" not in " ".join(map(str, found))


def test_the_metrics_need_a_key_that_reads_once_a_key_exists(iris_url: str) -> None:
    with api(iris_url) as client:
        assert client.get("/metrics").status_code == 200
    key = add_key(iris_url, Role.READ)
    with api(iris_url) as client:
        assert client.get("/metrics").status_code == 401
        assert read(client, **bearer(key))["batchline_rejections_total", "unauthorized"] > 0


def test_prometheus_may_send_the_address_as_host_and_no_other_name(iris_url: str) -> None:
    with ApiHere(iris_url) as service:
        for host, status in (("127.0.0.1:8000", 200), ("localhost", 200), ("evil.example", 421)):
            assert service.http.get("/metrics", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/openmetrics-text; version=x", "text/plain;version=1.0.0", "\xe9;;,"],
)
def test_whatever_a_client_accepts_it_gets_a_text_that_prometheus_reads(
    iris_url: str, accept: str
) -> None:
    with api(iris_url) as client:
        assert parsed(client.get("/metrics", headers={"Accept": accept.encode("latin-1")}))


def test_the_api_answers_while_the_database_has_not_answered_yet() -> None:
    """A read of the database goes on, and no scrape waits for it again."""
    with (
        server(let_in) as port,
        api(f"postgresql://me@127.0.0.1:{port}/rows", auth="off") as client,
    ):
        before = own().read().get(("batchline_database_errors_total",), 0)
        first, second = client.get("/metrics"), client.get("/metrics")
        for response in (first, second):
            found = parsed(response)
            assert found["batchline_database_errors_total",] == before  # it still waits
            assert ("batchline_late",) not in found
        assert second.elapsed < first.elapsed / 2


def test_the_metrics_of_the_database_are_missing_while_it_is_down(servers: Servers) -> None:
    server = servers.get("postgresql")
    url = server.create_database()
    migrate(url)
    with ApiHere(url) as service:

        def scrape() -> Samples:
            return parsed(service.http.get("/metrics"))

        before = read(service.http)
        assert before["batchline_late",] == 0
        server.kill()
        try:
            service.http.post("/predict", json={"data": [IRIS]})
            found = wait_for(lambda: without_late(scrape()), "the outage")
        finally:
            server.restart()
        grown = more(before, found)
        assert grown["batchline_rejections_total", "database_unavailable"] == 1
        assert grown["batchline_database_errors_total",] > 0
        wait_for(lambda: ("batchline_late",) in scrape(), "the recovery")
    server.drop_database(url)


def without_late(found: Samples) -> Samples | None:
    return None if ("batchline_late",) in found else found
