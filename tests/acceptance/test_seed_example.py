"""The three phases of the batch pattern: register, wait, read."""

from sqlalchemy import text

from batchline.db.database import Database
from tests.service import IRIS, Service, run, wait_for


def test_a_row_is_registered_waits_and_is_predicted(database_url: str) -> None:
    assert run("db", "upgrade", DATABASE_URL=database_url).returncode == 0
    with Service(database_url, "api") as api:
        response = api.http.post("/predict", json={"data": [IRIS]})
        assert response.status_code == 202
        assert response.json() == {"id": 1}
        assert response.headers["location"] == "/predict/id/1"

        waiting = api.read(1)
        assert waiting["prediction"] is None
        assert waiting["status"] == "pending"

        job = run("job", "--once", DATABASE_URL=database_url)
        assert job.returncode == 0, job.stderr
        assert "1 items predicted, 0 failed" in job.stdout

        done = api.read(1)
        assert done["status"] == "succeeded"
        assert done["prediction"]["setosa"] > 0.9
        assert set(done["prediction"]) == {"setosa", "versicolor", "virginica"}
        assert (done["model"], done["version"], done["error"]) == ("default", 1, None)
        assert done["created_at"] <= done["finished_at"]


def test_up_predicts_on_its_own_schedule(service: Service) -> None:
    item = service.wait_for_result(service.register(IRIS))
    assert item["prediction"]["setosa"] > 0.9


def test_an_item_of_several_rows_answers_a_list_in_row_order(service: Service) -> None:
    virginica = [6.7, 3.0, 5.2, 2.3]
    item = service.wait_for_result(service.register(IRIS, virginica, IRIS))
    assert [max(row, key=row.get) for row in item["prediction"]] == [
        "setosa",
        "virginica",
        "setosa",
    ]


def test_a_plain_insert_is_a_registration(service: Service, database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text("INSERT INTO items (data) VALUES ('[[5.1, 3.5, 1.4, 0.2]]')"))

    def stored() -> str | None:
        query = "SELECT prediction FROM predictions WHERE item_id = 1"
        with database.read() as connection:
            return connection.execute(text(query)).scalar()

    assert '"setosa":0.9' in wait_for(stored, "the prediction of item 1")
    with database.read() as connection:
        assert connection.execute(text("SELECT status FROM items")).scalar() == "succeeded"
    database.close()


def test_pages_of_items_follow_one_another(service: Service) -> None:
    ids = [service.register(IRIS) for _ in range(5)]
    for item_id in ids:
        service.wait_for_result(item_id)
    seen, after, has_more = [], 0, True
    while has_more:
        page = service.http.get("/items", params={"limit": 2, "after": after}).json()
        seen += [item["id"] for item in page["items"]]
        after, has_more = page["last_id"], page["has_more"]
    assert seen == ids
    assert service.http.get("/items?status=pending").json()["items"] == []
    assert len(service.http.get("/items?status=succeeded").json()["items"]) == 5


def test_each_run_is_recorded(service: Service, database_url: str) -> None:
    service.wait_for_result(service.register(IRIS))
    database = Database(database_url)

    def ended() -> object:
        with database.read() as connection:
            return connection.execute(text("SELECT * FROM runs WHERE ended_at IS NOT NULL")).first()

    recorded = wait_for(ended, "the end of the run")
    assert recorded.items_succeeded == 1
    assert recorded.items_failed == 0
    assert recorded.rows_per_second > 0
    assert recorded.started_at <= recorded.ended_at
    database.close()
