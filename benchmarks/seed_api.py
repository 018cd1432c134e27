"""The naive API, as a team would write it first: `uvicorn benchmarks.seed_api:app`.

It has a pydantic body, a synchronous endpoint, an ORM session and a COMMIT for each request, and
the libraries' defaults for the rest. `DATABASE_URL` is its database.
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy.orm import Session

from benchmarks.seed_loop import Base, Item, make_engine

engine = make_engine(os.environ["DATABASE_URL"])
Base.metadata.create_all(engine)
app = FastAPI()


class Rows(BaseModel):
    data: list[list[float]]


@app.post("/predict", status_code=202)
def register(rows: Rows) -> dict[str, int]:
    with Session(engine) as session:
        item = Item(data=rows.data)
        session.add(item)
        session.commit()
        return {"id": item.id}
