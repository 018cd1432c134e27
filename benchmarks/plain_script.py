"""An optimized script with the raw driver, in chunks of 10,000 items.

For each chunk, it executes one SELECT, one model call, one bulk INSERT, one status update and one
COMMIT. It is as durable as Batchline (SQLite: WAL with synchronous = FULL; servers: their safe
defaults). It has no claims, so two of them cannot run in parallel, and an invalid row stops it. The
comparison shows the cost of these features.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import psycopg
import pymysql
from sqlalchemy.engine import URL, make_url

from benchmarks import iris
from benchmarks.classifier import Classifier, StoredItem

CHUNK = 10_000

KEY = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
    "postgresql": "BIGSERIAL PRIMARY KEY",
}
SCHEMA = (
    "CREATE TABLE items (id {key}, data TEXT NOT NULL, status VARCHAR(9) NOT NULL"
    " DEFAULT 'pending', created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
    "CREATE INDEX items_status_id ON items (status, id)",
    "CREATE TABLE predictions (id {key}, item_id BIGINT NOT NULL UNIQUE,"
    " prediction TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
)
READ = "SELECT id, data FROM items WHERE status = 'pending' ORDER BY id LIMIT %s"
INSERT = "INSERT INTO predictions (item_id, prediction) VALUES (%s, %s)"
FINISH = "UPDATE items SET status = 'succeeded' WHERE status = 'pending' AND id BETWEEN %s AND %s"


def prepare(url: str, items: list[str]) -> None:
    """Create the tables and insert the items."""
    parsed = make_url(url)
    connection = connect(parsed)
    cursor = connection.cursor()
    for statement in SCHEMA:
        cursor.execute(statement.format(key=KEY[parsed.get_backend_name()]))
    insert = _marked("INSERT INTO items (data) VALUES (%s)", connection)
    cursor.executemany(insert, [(data,) for data in items])
    connection.commit()
    connection.close()


def run(url: str, load: Callable[[], Classifier] = iris.load) -> float:
    """Predict all pending items, and return the seconds without loading the model."""
    model = load()
    connection = connect(make_url(url))
    started = time.perf_counter()
    while predict_chunk(connection, model):
        pass
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def predict_chunk(connection: Any, model: Classifier) -> bool:
    """Predict the next chunk. Return False if nothing is pending."""
    cursor = connection.cursor()
    cursor.execute(_marked(READ, connection), (CHUNK,))
    items = cursor.fetchall()
    if not items:
        return False
    probabilities = model.probabilities([orjson.loads(data) for _, data in items])
    rows = [
        (item_id, orjson.dumps(dict(zip(model.labels, row, strict=True))).decode())
        for (item_id, _), row in zip(items, probabilities.tolist(), strict=True)
    ]
    insert_predictions(connection, cursor, rows)
    cursor.execute(_marked(FINISH, connection), (items[0][0], items[-1][0]))
    connection.commit()
    return True


def insert_predictions(connection: Any, cursor: Any, rows: list[tuple[int, str]]) -> None:
    """Insert predictions. PyMySQL is faster with one long statement than with `executemany`."""
    if isinstance(connection, pymysql.Connection):
        statement = INSERT + ", (%s, %s)" * (len(rows) - 1)
        cursor.execute(statement, [value for row in rows for value in row])
    else:
        cursor.executemany(_marked(INSERT, connection), rows)


def connect(url: URL) -> Any:
    """Return a connection of the raw driver."""
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection
    if url.get_backend_name() == "postgresql":
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(plain)
    return pymysql.connect(
        host=url.host,
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        charset="utf8mb4",
    )


def stored_items(url: str) -> Iterator[StoredItem]:
    """Yield the data and the prediction of each succeeded item."""
    connection = connect(make_url(url))
    cursor = connection.cursor()
    cursor.execute(
        "SELECT data, prediction FROM items JOIN predictions ON predictions.item_id = items.id"
        " WHERE status = 'succeeded' ORDER BY items.id"
    )
    for data, prediction in cursor.fetchall():
        yield orjson.loads(data), orjson.loads(prediction)
    connection.close()


def _marked(statement: str, connection: Any) -> str:
    """Return the statement with this driver's placeholders."""
    return statement.replace("%s", "?") if isinstance(connection, sqlite3.Connection) else statement
