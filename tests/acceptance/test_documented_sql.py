"""The statement with which the guide registers a table works on each database."""

import re
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, text

from batchline.constants import IRIS_MODEL
from batchline.db.database import Database
from batchline.ml.examination.report import Choices
from tests.jobs import add_model
from tests.service import HttpApi, wait_for

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "use-sql.md"
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def test_each_row_of_a_table_becomes_a_record_with_its_own_id(service: HttpApi) -> None:
    with closing(Database(service.database_url)) as database:
        choices = Choices(features=NAMES)
        add_model(database, IRIS_MODEL, name="flowers", choices=choices)
    block = re.search(r"^CREATE TABLE garden.*?(?=^```)", GUIDE.read_text(), re.DOTALL | re.M)
    assert block
    engine = create_engine(service.database_url)
    statements = block[0]
    if engine.dialect.name == "postgresql":
        statements = statements.replace("JSON_OBJECT", "json_build_object")
    with engine.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(text(statement))
    engine.dispose()
    first, second = wait_for(lambda: finished(service), "two predictions")
    assert (first["custom_id"], first["label"]) == ("7001", "setosa")
    assert (second["custom_id"], second["label"]) == ("7002", "virginica")


def finished(service: HttpApi) -> list[dict[str, str | None]] | None:
    found = service.http.get("/items", params={"status": "succeeded"}).json()["items"]
    return found if len(found) == 2 else None
