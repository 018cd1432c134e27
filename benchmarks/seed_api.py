"""The API that a team writes first: "the seed's API", `uvicorn benchmarks.seed_api:app`.

A pydantic body, a synchronous endpoint, an ORM session and a commit for each request, everything
else as the libraries come. `DATABASE_URL` says where to.
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
