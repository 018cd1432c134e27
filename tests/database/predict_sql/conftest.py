"""A database of the user, and a model for its tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchline.db.database import Database
from batchline.ml.rows import RowTensors
from batchline.scoring import model_process
from batchline.scoring.model_process import ModelCopy
from tests import models


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database without Batchline's tables."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Doubles the columns x0 and x1."""
    return models.doubling(tmp_path / "doubling.onnx")


class ModelHere:
    """A `ModelProcess` inside of the test's process, which starts without half a second of CPU."""

    is_alive = True

    def __init__(self, model: ModelCopy) -> None:
        self._predictor = model.load()

    def has_started(self) -> bool:
        return True

    def call(self, rows: RowTensors, seconds: float) -> list[Any]:
        return self._predictor.outputs(rows)

    def end(self) -> None:
        pass


@pytest.fixture(autouse=True)
def model_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call the model in the test's process, except in the tests of `model_process`."""
    monkeypatch.setattr(model_process, "ModelProcess", ModelHere)
