"""The naive loop, as a team would write it first. It is the baseline of the ratios.

It reads all items without a prediction and passes them to a pool of threads. For each item, a
thread calls the model with one row, inserts one prediction in its own session, and commits. The
loop is neither slowed down nor tuned: pool, isolation level and ONNX session have the libraries'
defaults. SQLite gets WAL and a busy timeout, because without them four writing threads fail with
"database is locked".
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from benchmarks import iris
from benchmarks.classifier import StoredItem

THREADS = 4
SQLITE_BUSY_TIMEOUT = 30.0


class Base(DeclarativeBase):
    """The tables of the naive loop."""


class Item(Base):
    __tablename__ = "seed_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Prediction(Base):
    __tablename__ = "seed_predictions"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey(Item.id), index=True)
    prediction: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


def prepare(url: str, items: list[str]) -> None:
    """Create the tables and insert the items."""
    engine = make_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Item(data=json.loads(data)) for data in items)
        session.commit()
    engine.dispose()


def run(url: str) -> float:
    """Predict all items without a prediction, and return the seconds without loading the model."""
    model = iris.load()
    engine = make_engine(url)
    sessions = sessionmaker(engine)
    started = time.perf_counter()

    def predict(item: Item) -> None:
        prediction = model.predict_item(item.data)
        with sessions() as session:
            session.add(Prediction(item_id=item.id, prediction=prediction))
            session.commit()

    with sessions() as session:
        items = session.scalars(_without_prediction()).all()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(predict, items):
            pass  # reading a result raises its thread's error
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds


def stored_items(url: str) -> Iterator[StoredItem]:
    """Yield the data and the prediction of each item."""
    engine = make_engine(url)
    query = select(Item.data, Prediction.prediction).join(Prediction).order_by(Item.id)
    with Session(engine) as session:
        yield from ((data, prediction) for data, prediction in session.execute(query))
    engine.dispose()


def _without_prediction() -> Any:
    return select(Item).outerjoin(Prediction).where(Prediction.id.is_(None)).order_by(Item.id)


def make_engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT})
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA journal_mode = WAL"))
    return engine
