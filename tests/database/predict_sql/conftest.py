"""A database of the user, and a model for its tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchline.db.database import Database
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
