"""No output repeats a secret or a value of a row, whatever goes wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from batchline.registry import model_file
from tests import models
from tests.conftest import Servers, Templates
from tests.in_process import run_here
from tests.service import Service, migrate, wait_for

NUMBER = 4.4375078125
ROW = [NUMBER, 3.5, 1.4, 0.2]
CUSTOM_ID, CELL, IDEMPOTENCY = "planted-custom-id", "planted-cell", "planted-idempotency-key"
WRONG_KEY = "bl_" + "planted" * 8
NEVER_LOGGED = [str(NUMBER), CUSTOM_ID, CELL, IDEMPOTENCY, WRONG_KEY]
TRIGGER = "CREATE TRIGGER {0} BEFORE INSERT ON {0} BEGIN SELECT RAISE(ABORT, 'refused'); END"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name no client should see."""
    folder = tmp_path / "planted-folder"
    folder.mkdir()
    return folder


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        for each in statements:
            connection.execute(each)


def send_good_and_bad(service: Service) -> None:
    http = service.http
    body = {"data": [ROW], "custom_id": CUSTOM_ID}
    keyed = http.post("/predict", json=body, headers={"Idempotency-Key": IDEMPOTENCY})
    assert keyed.status_code == 202, keyed.text
    assert http.post("/predict", json={"data": [[CELL, 1, 2, 3]]}).status_code == 422
    assert http.post("/predict", content=f'{{"data": [["{CELL}"'.encode()).status_code == 400
    lines = f'{{"data": [{ROW}], "custom_id": "{CUSTOM_ID}"}}\n{{"data": ["{CELL}"]}}\n{CELL}\n'
    assert http.post("/items", content=lines.encode()).status_code == 200
    wrong = http.get("/items", headers={"Authorization": f"Bearer {WRONG_KEY}"})
    assert wrong.status_code == 401
    assert WRONG_KEY not in wrong.text


def test_a_run_with_all_that_goes_wrong_logs_no_secret_and_no_row(folder: Path) -> None:
    file = folder / "batchline.db"
    url = f"sqlite:///{file}"
    migrate(url)
    key = run_here("keys", "create", "shop", "--role", "admin", DATABASE_URL=url).stdout.strip()
    settings = {"BATCH_WAIT_TIME": "0.2", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    with Service(url, **settings) as service:
        service.http.headers["Authorization"] = f"Bearer {key}"
        send_good_and_bad(service)
        execute(file, f"INSERT INTO items (data) VALUES ('[[\"{CELL}\"]]'), ('[[{CELL}')")
        service.wait_for_result(1)
        execute(file, TRIGGER.format("predictions"))
        service.register(ROW)
        wait_for(lambda: "run failed" in service.output, "a run that cannot store")
        execute(file, TRIGGER.format("items"))
        bug = service.http.post("/predict", json={"data": [ROW], "custom_id": CUSTOM_ID})
        execute(file, "ALTER TABLE items RENAME TO gone", "ALTER TABLE predictions RENAME TO g2")
        missing = service.http.post("/predict", json={"data": [ROW], "custom_id": CUSTOM_ID})
        unread = service.http.get("/items")
        assert (bug.status_code, missing.status_code, unread.status_code) == (500, 503, 503)
        wait_for(lambda: "schema_outdated" in service.output, "the log of a request")
        output = service.output
    assert '"event": "internal_error"' in output
    assert "which led to:" in output  # the traceback of a run
    for secret in (key, *NEVER_LOGGED):
        assert secret not in output, secret
    for response in (bug, missing, unread):
        for hidden in (*NEVER_LOGGED, key, str(folder), folder.name):
            assert hidden not in response.text


@pytest.fixture
def url(servers: Servers, templates: Templates, tmp_path: Path) -> str:
    """A migrated database on SQLite."""
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    templates("sqlite").copy_to(url, None)
    return url


MODEL_URL = "memory://me:hunter2@bucket/m.onnx"


@pytest.fixture
def model_by_url(tmp_path: Path) -> str:
    """A model at a URL with a password, in memory."""
    content = models.doubling(tmp_path / "m.onnx").read_bytes()
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/me:hunter2@bucket/m.onnx", content)
    return MODEL_URL


def test_the_password_of_a_models_url_is_used_and_shown_nowhere(
    url: str, model_by_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = run_here("models", "add", "m", model_by_url, DATABASE_URL=url)
    assert added.returncode == 0, added.stderr
    shown = run_here("models", "show", "m", DATABASE_URL=url)
    gone = run_here("models", "add", "m", f"{model_by_url}.gone?token=hunter2", DATABASE_URL=url)
    assert "memory://***@bucket/m.onnx.gone?*** cannot be read" in gone.stderr
    monkeypatch.setattr(model_file, "MODEL_STORED_MAX_BYTES", 10)
    large = run_here("models", "add", "large", model_by_url, DATABASE_URL=url)
    assert large.returncode == 1
    assert "its URL, which each job would read, has a user or a query" in large.stderr
    for done in (added, shown, gone, large):
        assert "hunter2" not in done.stdout + done.stderr
    assert b"hunter2" not in Path(url.removeprefix("sqlite:///")).read_bytes()


def test_the_folder_of_a_model_is_in_the_jobs_log_and_not_in_the_items_failure(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MODEL_STORED_MAX_BYTES", 10)
    model = models.doubling(folder / "m.onnx")
    run_here("models", "add", "m", model, DATABASE_URL=url)
    model.unlink()
    file = Path(url.removeprefix("sqlite:///"))
    execute(file, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'm')")
    done = run_here("job", "--once", DATABASE_URL=url)
    assert f"{folder}/m.onnx cannot be read" in done.stderr
    with closing(sqlite3.connect(file)) as connection:
        [(detail,)] = connection.execute("SELECT error_detail FROM results").fetchall()
    assert detail == "the model file m.onnx cannot be read: No such file or directory"


@pytest.mark.parametrize("query", ["password=hunter2", "sslpassword=hunter2&x=1", "passwd=hunter2"])
def test_check_shows_no_password_of_a_database_url(query: str) -> None:
    for scheme in ("postgresql", "mysql"):
        database_url = f"{scheme}://me:s3cret@127.0.0.1:9/rows?{query}"
        done = run_here("check", DATABASE_URL=database_url)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert "127.0.0.1" in done.stdout + done.stderr or "cannot be used" in done.stdout
