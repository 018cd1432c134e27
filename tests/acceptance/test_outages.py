"""The database goes away and comes back while the service runs."""

import resource
import sqlite3
from pathlib import Path

import pytest

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.new_items import NewItems
from tests.api_here import ApiHere
from tests.conftest import Servers, first_of
from tests.in_process import run_here
from tests.service import IRIS, Command, Service, migrate, wait_for

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
    migrate(url)
    with ApiHere(url) as service:
        first = service.register(IRIS)
        service.read(first)
        key = {"Idempotency-Key": "once"}
        server.pause()
        try:
            hanging = service.http.post("/predict", json={"data": [IRIS]}, headers=key)
            reading = service.http.get(f"/predict/id/{first}")
            refused = [service.http.post("/predict", json={"data": [IRIS]}) for _ in range(100)]
        finally:
            server.resume()
        assert hanging.status_code == 503, hanging.text
        assert hanging.json()["code"] in ("database_unavailable", "commit_unknown")
        assert reading.status_code == 503
        # That they came to an end shows that they did not wait for three seconds each.
        assert {(r.status_code, r.json()["code"]) for r in refused} == {
            (503, "database_unavailable")
        }
        wait_for(service.is_ready, "the recovery")
        ids = {
            service.http.post("/predict", json={"data": [IRIS]}, headers=key).json()["id"]
            for _ in range(3)
        }
        assert len(ids) == 1
        assert ids != {first}
        assert len(service.http.get("/items").json()["items"]) == 2
    server.drop_database(url)


@pytest.mark.parametrize(
    ("kind", "once"),
    [*((kind, True) for kind in SERVERS), *first_of([(kind, False) for kind in SERVERS])],
)
def test_a_job_goes_on_when_the_database_is_back(kind: str, once: bool, servers: Servers) -> None:
    server = servers.get(kind)
    url = server.create_database()
    settings = {"DATABASE_URL": url, "BATCH_WAIT_TIME": "3600"}
    migrate(url)
    database = Database(url)
    for _ in range(50):
        with database.write() as connection:
            items.register(connection, NewItems([f"[{IRIS}]"] * 1_000))
    client = database.engine.connect()  # which keeps the last item, so that no job gets to its end
    client.exec_driver_sql("SELECT id FROM items ORDER BY id DESC LIMIT 1 FOR UPDATE").one()
    with Command("job", *(["--once"] if once else []), **settings) as job:
        wait_for(lambda: count(database, "claims") > 0, "the first claim")
        server.kill()
        client.invalidate()
        client.close()
        wait_for(lambda: "database unavailable" in job.output, "the job to notice")
        server.restart()
        database.close()
        wait_for(lambda: count(database, "items WHERE status = 'pending'") == 0, "the end")
        if once:
            assert job.wait() == 0, job.output
    assert count(database, "predictions") == 50_000
    database.close()
    server.drop_database(url)


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.mark.parametrize("kind", SERVERS)
def test_a_restart_of_the_database_that_nobody_noticed_costs_no_request(
    kind: str, servers: Servers
) -> None:
    server = servers.get(kind)
    url = server.create_database()
    migrate(url)
    with Service(url, "api") as service:  # a job that is still starting would notice
        first = service.register(IRIS)
        server.kill()
        server.restart()
        assert service.read(first)["id"] == first
        assert service.register(IRIS) > first
    server.drop_database(url)


def migrated(folder: Path) -> str:
    url = f"sqlite:///{folder / 'batchline.db'}"
    migrate(url)
    return url


def test_a_full_disk_is_503_tears_nothing_and_passes_with_it(tmp_path: Path) -> None:
    """A limit on the size of files does to SQLite what a full disk does."""
    with Service(migrated(tmp_path), "api") as api:
        acknowledged = [api.register(IRIS)]
        sizes = [file.stat().st_size for file in tmp_path.iterdir()]
        _, hard = resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (max(sizes) + 50_000, hard))
        answers = [api.http.post("/predict", json={"data": [IRIS] * 500}) for _ in range(20)]
        acknowledged += [answer.json()["id"] for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert {(a.status_code, a.json()["code"]) for a in refused} == {
            (503, "database_unavailable")
        }
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert api.http.get("/health/ready").status_code == 503
        resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        acknowledged.append(wait_for(lambda: try_to_register(api), "the recovery"))
        assert api.is_ready()
        page = api.http.get("/items?limit=1000").json()
        assert [item["id"] for item in page["items"]] == acknowledged
    with sqlite3.connect(tmp_path / "batchline.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def try_to_register(api: Service) -> int | None:
    response = api.http.post("/predict", json={"data": [IRIS]})
    return response.json()["id"] if response.status_code == 202 else None


def test_a_read_only_file_is_503_for_those_who_write_and_can_be_read(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    with ApiHere(url) as api:
        item_id = api.register(IRIS)
    read_only = url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    with ApiHere(read_only) as api:
        response = api.http.post("/predict", json={"data": [IRIS]})
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        assert "Nothing was stored" in response.json()["detail"]
        assert api.read(item_id)["status"] == "pending"
    job = run_here("job", "--once", DATABASE_URL=read_only)
    assert job.returncode == 1
    assert "hint: make the database writable for this user" in job.stderr


def test_a_file_that_was_deleted_is_503_and_not_written_to(tmp_path: Path) -> None:
    url = migrated(tmp_path)
    with ApiHere(url) as service:
        assert service.register(IRIS) == 1
        for file in tmp_path.glob("batchline.db*"):
            file.unlink()
        response = service.http.post("/predict", json={"data": [IRIS]})
        assert (response.status_code, response.json()["code"]) == (503, "schema_outdated")
        assert service.http.get("/health/ready").status_code == 503
        migrate(url)
        assert service.register(IRIS) == 1


def test_an_unmigrated_database_ends_the_api_with_a_hint(database_url: str) -> None:
    done = run_here("api", DATABASE_URL=database_url)
    assert done.returncode == 1
    assert "batchline db upgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schema_that_goes_away_is_503(database_url: str) -> None:
    migrate(database_url)
    with ApiHere(database_url) as service:
        service.register(IRIS)
        database = Database(database_url)
        cascade = "CASCADE" if database_url.startswith("postgresql") else ""  # the view results
        with database.write() as connection:
            for table in ("items", "batchline_migrations"):
                connection.exec_driver_sql(f"DROP TABLE {table} {cascade}")
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
    with ApiHere(url) as api:
        response = api.http.post("/predict", json={"data": [IRIS]})
        assert (response.status_code, response.json()["code"]) == (503, "no_model")
        assert run_here("job", "--once", DATABASE_URL=url).returncode == 0
        wait_for(
            lambda: api.http.post("/predict", json={"data": [IRIS]}).status_code == 202,
            "reading the models again",
        )
