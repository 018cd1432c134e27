"""A client that chooses ids itself blocks PostgreSQL's, which `db upgrade` repairs."""

import pytest

from batchline.db.database import Database
from tests.api_here import ApiHere
from tests.conftest import KINDS
from tests.in_process import run_here
from tests.service import IRIS, migrate

UPGRADE = "run `batchline db upgrade`"
CHOSEN = [
    "INSERT INTO items (id, data) SELECT n, '[]' FROM generate_series(1, 300) n",
    "INSERT INTO items (id, data) VALUES (9223372036854775807, '[]')",
    "INSERT INTO predictions (id, item_id, model_id, prediction) VALUES (7, 1, 1, '{}')",
]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_taken_ids_are_found_by_check_and_repaired_by_db_upgrade(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.write() as connection:
        for statement in CHOSEN:
            connection.exec_driver_sql(statement)
    with ApiHere(database_url) as api:
        refused = api.http.post("/predict", json={"data": [IRIS]})
        assert (refused.status_code, refused.json()["code"]) == (503, "sequence_behind")
        assert refused.json()["hint"] == UPGRADE
        lines = b"\n".join([b'{"data": [[1, 2, 3, 4]]}'] * 150)
        upload = api.http.post("/items", content=lines)
        assert (upload.status_code, upload.json()["code"]) == (503, "sequence_behind")
        found = run_here("check", DATABASE_URL=database_url)
        assert found.returncode == 1
        assert "items up to 300, predictions up to 7" in found.stdout
        assert UPGRADE in found.stdout
        assert run_here("db", "upgrade", DATABASE_URL=database_url).returncode == 0
        assert run_here("check", DATABASE_URL=database_url).returncode == 0
        first = api.register(IRIS)  # `check` has assigned ids too, and taken them back
        assert first > 300
        with database.read() as connection:
            counted = connection.exec_driver_sql("SELECT count(*) FROM items").scalar_one()
        assert counted == 302
        ids = f'"ids":[{first + 1},{first + 150}]'
        assert ids in api.http.post("/items", content=lines).text
    database.close()


@pytest.mark.parametrize(
    "database_kind", [each for each in KINDS if each != "postgresql"], indirect=True
)
def test_the_largest_id_is_found_by_check_and_replaced_by_db_upgrade(
    database: Database, database_url: str
) -> None:
    largest = 2**63 - 1
    with database.write() as connection:
        for statement in (
            "INSERT INTO items (id, data, status) VALUES (7, '[]', 'failed')",
            f"INSERT INTO items (id, data, status) VALUES ({largest}, '[]', 'succeeded')",
            f"INSERT INTO predictions (item_id, model_id, prediction) VALUES ({largest}, 1, '1')",
        ):
            connection.exec_driver_sql(statement)
    with ApiHere(database_url) as api:
        refused = api.http.post("/predict", json={"data": [IRIS]})
        assert refused.status_code == 503
        assert "batchline" in refused.json()["hint"]
        found = run_here("check", DATABASE_URL=database_url)
        assert (found.returncode, f"items up to {largest}" in found.stdout) == (1, True)
        upgraded = run_here("db", "upgrade", DATABASE_URL=database_url)
        assert upgraded.returncode == 0
        assert str(largest) in upgraded.stdout + upgraded.stderr
        assert api.read(8)["prediction"] == 1
        assert api.register(IRIS) >= 9  # `check` has assigned ids too
        assert run_here("check", DATABASE_URL=database_url).returncode == 0
