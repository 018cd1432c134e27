"""Models with external data, from `models add` to their predictions, on each database."""

from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pytest

from batchline.db.cruds import items, results, versions
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.ml.content import ModelContent
from batchline.registry import model_file, publish
from batchline.registry.version import Version, read_version
from tests import models
from tests.database.test_jobs import read
from tests.database.test_jobs import run as run_job
from tests.in_process import run_here
from tests.jobs import ACTOR, add_model, make_job

WEIGHTS = np.array([[0.1, 2], [-3, 4e5]], np.float32)
ROWS = [[1.5, 2.5], [0.1, -7.0]]


def embedded(folder: Path) -> list[dict[str, list[float]]]:
    """What ONNX Runtime gives for the same model with its weights in the same file."""
    path = models.with_embedded_data(folder / "embedded.onnx", WEIGHTS)
    session = onnxruntime.InferenceSession(path.read_bytes())
    [output] = session.run(None, {"x": np.array(ROWS, np.float32)})
    return [{"y": row.tolist()} for row in output]


def same(text: str, expected: list[dict[str, list[float]]]) -> bool:
    """Whether the floats are the same. The text has the shortest form that reads back the same."""
    found = [row["y"] for row in orjson.loads(text)]
    wanted = np.array([row["y"] for row in expected], np.float32)
    return bool((np.array(found, np.float32) == wanted).all())


def register(database: Database) -> int:
    with database.write() as connection:
        return items.register(connection, NewItems([orjson.dumps(ROWS).decode()], ["split"]))[0]


def predicted(database: Database) -> str:
    """The prediction of the rows by a job that has not loaded any model yet."""
    item_id = register(database)
    run_job(make_job(database))
    return read(database, item_id).prediction


def stored(database: Database, version: Version) -> bytes:
    with database.read() as connection:
        return versions.read_file(connection, version.sha256)


def test_the_commands_add_and_serve_a_model_of_two_files(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    for path in (folder, elsewhere / "no-external-data", elsewhere / "no-folder"):
        path.mkdir(parents=True)
        (path / "weights.bin").write_bytes((WEIGHTS * 10).tobytes())
    model = models.with_external_data(folder / "m.onnx", WEIGHTS)
    (elsewhere / "weights.bin").write_bytes((WEIGHTS * 10).tobytes())
    monkeypatch.chdir(elsewhere)
    said = run_here("models", "add", "split", model, DATABASE_URL=database_url)
    assert said.returncode == 0, said.stderr
    assert "external data: weights.bin, 16 bytes" in said.stdout
    model.unlink()
    (folder / "weights.bin").unlink()
    item_id = register(database)
    said = run_here("job", "--once", DATABASE_URL=database_url)
    assert said.returncode == 0, said.stderr
    assert same(read(database, item_id).prediction, embedded(tmp_path))


@pytest.mark.parametrize("limit", [2**20, 10], ids=["in the database", "by location"])
def test_the_predictions_are_those_of_the_same_model_in_one_file(
    limit: int, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MODEL_STORED_MAX_BYTES", limit)
    monkeypatch.setattr(versions, "MODEL_PART_BYTES", 50)
    model = models.with_external_data(tmp_path / "m.onnx", WEIGHTS)
    version = add_model(database, model, name="split")
    assert version.location == (None if limit > 10 else str(model))
    assert version.size == len(model.read_bytes()) + 16
    assert same(predicted(database), embedded(tmp_path))


def test_the_database_has_all_bytes_until_the_version_is_removed(
    database: Database, tmp_path: Path
) -> None:
    model = models.with_external_data(tmp_path / "m.onnx", WEIGHTS)
    first = add_model(database, model, name="split")
    content = ModelContent.unpack(stored(database, first))
    assert content == ModelContent(model.read_bytes(), {"weights.bin": WEIGHTS.tobytes()})
    assert content.sha256 == first.sha256
    assert add_model(database, model, name="split").id == first.id
    models.with_external_data(model, WEIGHTS + 1)
    second = add_model(database, model, name="split")
    assert (second.number, second.sha256 != first.sha256) == (2, True)
    publish.remove(database, read_version(database, "split", 1), ACTOR)
    assert stored(database, first) == b""
    assert stored(database, second)


@pytest.mark.parametrize("spoil", ["longer", "shorter", "other", "gone"])
def test_weights_that_changed_after_they_were_added_fail_the_models_items_only(
    spoil: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MODEL_STORED_MAX_BYTES", 10)
    model = models.with_external_data(tmp_path / "m.onnx", WEIGHTS)
    add_model(database, model, name="split")
    file, content = tmp_path / "weights.bin", WEIGHTS.tobytes()
    file.write_bytes({"longer": content + b"0", "shorter": content[:4]}.get(spoil, content[::-1]))
    if spoil == "gone":
        file.unlink()
    item_id = register(database)
    run_job(make_job(database))
    failed = read(database, item_id)
    assert failed.code == "model_unavailable"
    assert (
        "'weights.bin', which cannot be read" if spoil == "gone" else "changed"
    ) in failed.detail
    file.write_bytes(content)
    with database.write() as connection:
        results.retry_failed(connection, item_ids=[item_id], code=None, limit=1)
    run_job(make_job(database))
    assert same(read(database, item_id).prediction, embedded(tmp_path))


def test_weights_that_changed_in_the_database_are_noticed(
    database: Database, tmp_path: Path
) -> None:
    model = models.with_external_data(tmp_path / "m.onnx", WEIGHTS)
    version = add_model(database, model, name="split")
    packed = stored(database, version)
    for spoilt in (packed + b"0", packed[:-1], packed[:20], b"\0" * 30):
        with database.write() as connection:
            connection.exec_driver_sql(f"DELETE FROM model_files WHERE sha256 = '{version.sha256}'")
            versions.store_file(connection, version.sha256, spoilt)
        item_id = register(database)
        run_job(make_job(database))
        assert "in the database has changed" in read(database, item_id).detail
