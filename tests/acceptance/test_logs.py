"""The log has a line for each thing that happens, however many requests and items it happens to."""

import json
from typing import Any

import pytest

from tests.conftest import Servers, first_of
from tests.service import IRIS, Service, wait_for

Event = dict[str, Any]


def events(service: Service, level: str = "") -> list[Event]:
    found = [json.loads(line) for line in service.output.splitlines() if line.startswith("{")]
    return [event for event in found if level in ("", event["level"])]


def roles(service: Service, event: str) -> list[str]:
    return [each["role"] for each in events(service) if each["event"] == event]


@pytest.mark.parametrize("kind", first_of(["postgresql", "mysql", "mariadb"]))
def test_an_outage_is_one_line_at_its_beginning_and_one_at_its_end(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with Service(url, BATCH_WAIT_TIME="0.2", LOG_FORMAT="json") as service:
        service.wait_for_result(service.register(IRIS))
        server.kill()
        try:
            for number in range(20):
                headers = {"X-Request-ID": f"shop-{number}"}
                response = service.http.post("/predict", json={"data": [IRIS]}, headers=headers)
                assert response.status_code == 503
                assert response.headers["x-request-id"] == f"shop-{number}"
            wait_for(lambda: len(roles(service, "database unavailable")) == 2, "both beginnings")
        finally:
            server.restart()
        wait_for(service.is_ready, "the recovery")
        service.wait_for_result(service.register(IRIS))
        wait_for(lambda: len(roles(service, "database available again")) == 2, "both ends")
        troubles = [each for each in events(service) if each["level"] != "info"]
    for role in ("api", "job"):
        began, ended = (each for each in troubles if each["role"] == role)
        assert began["event"] == "database unavailable"
        assert began["detail"]
        assert ended["event"] == "database available again"
        assert ended["failed"] >= 1
        if role == "api":
            assert ended["request_ids"] == [f"shop-{number}" for number in range(5)]
    server.drop_database(url)
