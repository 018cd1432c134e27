"""The three phases of the batch pattern: register, wait, read."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from batchline.db.database import Database
from tests.conftest import SQLITE_AND_A_SERVER, Servers, new_database
from tests.service import IRIS, Service, run, wait_for


@pytest.mark.every_server
def test_a_row_is_registered_waits_and_is_predicted(database_url: str) -> None:
    assert run("db", "upgrade", DATABASE_URL=database_url).returncode == 0
    with Service(database_url, "api") as api:
        response = api.http.post("/predict", json={"data": [IRIS]})
        assert response.status_code == 202
        assert response.json() == {"id": 1}
        assert response.headers["location"] == "/predict/id/1"

        waiting = api.read(1)
        assert waiting["prediction"] is None
        assert waiting["label"] is None
        assert waiting["status"] == "pending"

        job = run("job", "--once", DATABASE_URL=database_url)
        assert job.returncode == 0, job.stderr
        assert "1 item predicted, 0 failed" in job.stdout

        done = api.read(1)
        assert done["status"] == "succeeded"
        assert done["prediction"]["setosa"] > 0.9
        assert set(done["prediction"]) == {"setosa", "versicolor", "virginica"}
        assert done["label"] == "setosa"
        assert (done["model"], done["version"], done["error"]) == ("default", 1, None)
        assert done["created_at"] <= done["finished_at"]


@pytest.fixture(scope="module", params=SQLITE_AND_A_SERVER)
def service(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """`batchline up` on a database that the tests below share."""
    folder = tmp_path_factory.mktemp("seed")
    with (
        new_database(request.param, servers, folder) as url,
        Service(url, BATCH_WAIT_TIME="0.5") as service,
    ):
        yield service


def test_up_predicts_on_its_own_schedule(service: Service) -> None:
    item = service.wait_for_result(service.register(IRIS))
    assert item["prediction"]["setosa"] > 0.9


def test_an_item_of_several_rows_answers_a_list_in_row_order(service: Service) -> None:
    virginica = [6.7, 3.0, 5.2, 2.3]
    item = service.wait_for_result(service.register(IRIS, virginica, IRIS))
    assert item["label"] == ["setosa", "virginica", "setosa"]
    assert [max(row, key=row.get) for row in item["prediction"]] == item["label"]


def test_a_plain_insert_is_a_registration(service: Service) -> None:
    database = Database(service.database_url)
    with database.write() as connection:
        connection.execute(text("INSERT INTO items (data) VALUES ('[[5.1, 3.5, 1.4, 0.2]]')"))
    with database.read() as connection:
        item_id = connection.execute(text("SELECT max(id) FROM items")).scalar()

    def stored() -> str | None:
        query = f"SELECT prediction FROM predictions WHERE item_id = {item_id}"
        with database.read() as connection:
            return connection.execute(text(query)).scalar()

    assert '"setosa":0.9' in wait_for(stored, "the prediction of the item")
    with database.read() as connection:
        query = f"SELECT status FROM items WHERE id = {item_id}"
        assert connection.execute(text(query)).scalar() == "succeeded"
    database.close()


def test_pages_of_items_follow_one_another(service: Service) -> None:
    ids = [service.register(IRIS) for _ in range(5)]
    for item_id in ids:
        service.wait_for_result(item_id)
    before = ids[0] - 1
    seen, after, has_more = [], before, True
    while has_more:
        page = service.http.get("/items", params={"limit": 2, "after": after}).json()
        seen += [item["id"] for item in page["items"]]
        after, has_more = page["last_id"], page["has_more"]
    assert seen == ids

    def count(status: str) -> int:
        page = service.http.get("/items", params={"status": status, "after": before}).json()
        return len(page["items"])

    assert (count("pending"), count("succeeded")) == (0, 5)


def test_each_run_is_recorded(service: Service) -> None:
    database = Database(service.database_url)
    with database.read() as connection:
        before = connection.execute(text("SELECT coalesce(max(id), 0) FROM runs")).scalar()
    service.wait_for_result(service.register(IRIS))

    def ended() -> object:
        query = f"SELECT * FROM runs WHERE id > {before} AND ended_at IS NOT NULL"
        with database.read() as connection:
            return connection.execute(text(query)).first()

    recorded = wait_for(ended, "the end of the run")
    assert recorded.items_succeeded == 1
    assert recorded.items_failed == 0
    assert recorded.rows_per_second > 0
    assert recorded.started_at <= recorded.ended_at
    database.close()
