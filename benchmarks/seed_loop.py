"""The loop that a team writes first, and the reference of every ratio: "the seed".

It reads what has no prediction yet and hands the items to a pool of threads; each thread calls
the model with one row, inserts one prediction in a session of its own, and commits. Nothing in
it is slowed down on purpose, and nothing is tuned: pool, isolation and ONNX session are what the
libraries give by default. SQLite gets WAL and a busy timeout, because without them four threads
that write end in "database is locked".
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from benchmarks.iris import Answer, Model

THREADS = 4
SQLITE_BUSY_TIMEOUT = 30.0


class Base(DeclarativeBase):
    """The loop's own little schema."""


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
    """Make the tables and register the items."""
    engine = make_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Item(data=json.loads(data)) for data in items)
        session.commit()
    engine.dispose()


def run(url: str) -> float:
    """Predict everything that has no prediction; the seconds it took, the model loaded before."""
    model = Model.load()
    engine = make_engine(url)
    sessions = sessionmaker(engine)
    started = time.perf_counter()

    def predict(item: Item) -> None:
        prediction = model.predict_row(item.data[0])
        with sessions() as session:
            session.add(Prediction(item_id=item.id, prediction=prediction))
            session.commit()

    with sessions() as session:
        waiting = session.scalars(_without_prediction()).all()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(predict, waiting):
            pass  # going through the results raises what a thread raised
    seconds = time.perf_counter() - started
    engine.dispose()
    return seconds


def answers(url: str) -> Iterator[Answer]:
    """Each item's data beside its prediction."""
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
