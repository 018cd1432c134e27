"""The database goes away and comes back while the service runs."""

from pathlib import Path

import pytest

from batchline.db.database import Database
from batchline.db.migrations import upgrade
from tests.conftest import Servers
from tests.service import IRIS, Service, run, wait_for

SERVERS = ["mysql", "mariadb", "postgresql"]


@pytest.mark.parametrize("kind", SERVERS)
def test_the_service_answers_503_while_the_database_is_down_and_recovers(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with Service(url, BATCH_WAIT_TIME="0.5") as service:
        before = service.register(IRIS)
        service.wait_for_result(before)
        server.kill()
        try:
            response = service.http.post("/predict", json={"data": [IRIS]})
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            assert response.json()["code"] == "database_unavailable"
            assert "othing was stored" in response.json()["detail"]
            assert service.http.get(f"/predict/id/{before}").status_code == 503
            assert service.http.get("/health/ready").status_code == 503
            assert service.http.get("/health/live").status_code == 200
        finally:
            server.restart()
        wait_for(service.is_ready, "the recovery")
        assert service.read(before)["status"] == "succeeded"
        after = service.wait_for_result(service.register(IRIS))
        assert after["status"] == "succeeded"
        assert service.process.poll() is None
    server.drop_database(url)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_database_that_hangs_is_503_and_a_key_tells_what_became_of_it(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with Service(url, BATCH_WAIT_TIME="3600") as service:
        first = service.register(IRIS)
        key = {"Idempotency-Key": "once"}
        server.pause()
        try:
            hanging = service.http.post("/predict", json={"data": [IRIS]}, headers=key)
        finally:
            server.resume()
        assert hanging.status_code == 503, hanging.text
        assert hanging.json()["code"] in ("database_unavailable", "commit_unknown")
        wait_for(service.is_ready, "the recovery")
        ids = {
            service.http.post("/predict", json={"data": [IRIS]}, headers=key).json()["id"]
            for _ in range(3)
        }
        assert len(ids) == 1
        assert ids != {first}
    server.drop_database(url)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_restart_of_the_database_that_nobody_noticed_costs_no_request(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    with Service(url, BATCH_WAIT_TIME="3600") as service:
        first = service.register(IRIS)
        server.kill()
        server.restart()
        assert service.register(IRIS) > first
    server.drop_database(url)


def test_an_unmigrated_database_ends_the_api_with_a_hint(database_url: str) -> None:
    done = run("api", DATABASE_URL=database_url)
    assert done.returncode == 1
    assert "batchline db upgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schema_that_goes_away_is_503(database_url: str) -> None:
    with Service(database_url, BATCH_WAIT_TIME="3600") as service:
        service.register(IRIS)
        database = Database(database_url)
        with database.write() as connection:
            for table in ("items", "alembic_version"):
                connection.exec_driver_sql(f"DROP TABLE {table}")
        database.close()
        for response in (
            service.http.get("/predict/id/1"),
            service.http.get("/health/ready"),
            service.http.post("/predict", json={"data": [IRIS]}),
        ):
            assert (response.status_code, response.json()["code"]) == (503, "schema_outdated")


def test_without_a_published_model_registration_waits_for_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    database = Database(url)
    upgrade(database)
    database.close()
    with Service(url, "api") as api:
        response = api.http.post("/predict", json={"data": [IRIS]})
        assert (response.status_code, response.json()["code"]) == (503, "no_model")
        assert run("job", "--once", DATABASE_URL=url).returncode == 0
        assert api.register(IRIS) == 1
