"""A wrong configuration ends the command at start, with one sentence and a hint."""

import socket
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy.engine import make_url

from batchline.constants import IRIS_LABELS, IRIS_MODEL
from batchline.db.database import Database
from devservers.server import free_port
from tests import models
from tests.conftest import Servers
from tests.in_process import run_here
from tests.service import migrate, run

COMMANDS = [("up",), ("job", "--once"), ("db", "upgrade")]


def sqlite_in(folder: Path) -> dict[str, str]:
    return {"DATABASE_URL": f"sqlite:///{folder / 'batchline.db'}"}


def assert_refused(done: CompletedProcess[str], says: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BATCH_WAIT_TIME", "-1", "BATCH_WAIT_TIME must be greater than 0, got -1"),
        ("WORKER_THREADS", "0", "WORKER_THREADS must be greater than or equal to 1, got 0"),
        ("DATABASE_URL", "oracle://host/db", "not supported"),
        ("DATABASE_URL", "nonsense", "not a database URL"),
        ("DATABASE_URL", "mysql+mysqldb://u@h/d", "cannot be used"),
        ("DATABASE_URL", "mysql://u@127.0.0.1/d?foo=bar", "cannot be used"),
        ("DATABASE_URL", "postgresql://u@127.0.0.1/d?foo=bar", "cannot be used"),
        ("DATABASE_URL", "sqlite:////etc/passwd", "not a database"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_URL", "sqlite:///file:x?mode=memory&uri=true", "must name a file"),
        (
            "DATABASE_URL",
            "sqlite:////missing/folder/batchline.db",
            "the database sqlite:////missing",
        ),
    ],
)
def test_a_value_that_cannot_work(
    tmp_path: Path, words: tuple[str, ...], name: str, value: str, says: str
) -> None:
    execute = run if name == "BATCH_WAIT_TIME" else run_here  # a process of each command
    assert_refused(execute(*words, **(sqlite_in(tmp_path) | {name: value})), says)


def test_a_model_or_label_file_that_is_none(tmp_path: Path) -> None:
    settings = sqlite_in(tmp_path)
    migrate(settings["DATABASE_URL"])
    (tmp_path / "none.onnx").write_text("no model")
    (tmp_path / "labels.json").write_text('["only one"]')
    cases = {
        "cannot be read": {"MODEL_FILEPATH": str(tmp_path / "missing.onnx")},
        "is not a model": {"MODEL_FILEPATH": str(tmp_path / "none.onnx")},
        "has 1 labels": {
            "MODEL_FILEPATH": str(IRIS_MODEL),
            "LABEL_FILEPATH": str(tmp_path / "labels.json"),
        },
    }
    for says, files in cases.items():
        assert_refused(run_here("job", "--once", **settings, **files), says)


@pytest.mark.every_server
@pytest.mark.parametrize("kind", ["mysql", "mariadb", "postgresql"])
def test_a_server_that_cannot_be_reached_or_refuses(kind: str, servers: Servers) -> None:
    server = servers.get(kind)
    url = make_url(server.create_database())

    def text(**changes: object) -> str:
        return url.set(**changes).render_as_string(hide_password=False)

    for_ever = "86400"
    cases = {
        text(port=free_port()): ("does not respond", "host and the port", "0"),
        text(password="wrong-secret"): ("cannot be used", "user and the password", for_ever),
        text(database="nowhere"): ("cannot be used", "database", for_ever),
    }
    for wrong, (says, hint, wait) in cases.items():
        done = run_here("job", "--once", DATABASE_URL=wrong, DATABASE_WAIT=wait)
        assert done.returncode == 1
        name = make_url(wrong).host, make_url(wrong).database
        assert all(part in done.stderr.partition(says)[0] for part in name), done.stderr
        assert hint in done.stderr.partition("hint: ")[2]
        assert "Traceback" not in done.stderr
        assert "wrong-secret" not in done.stderr
    server.drop_database(url.render_as_string(hide_password=False))


def test_check_lists_every_finding(tmp_path: Path) -> None:
    done = run_here(
        "check", DATABASE_URL="sqlite:////missing/folder/x.db", MODEL_FILEPATH=str(tmp_path / "m")
    )
    assert done.returncode == 1
    assert "the database sqlite:////missing/folder/x.db does not exist" in done.stdout
    assert "cannot be read" in done.stdout
    assert done.stdout.count("hint: ") == 2


def test_check_is_content_with_what_works(tmp_path: Path) -> None:
    settings = sqlite_in(tmp_path)
    assert "batchline db upgrade" in run_here("check", **settings).stdout
    migrate(settings["DATABASE_URL"])
    done = run_here("check", **settings)
    assert done.returncode == 0, done.stdout


def test_check_names_each_model_that_it_loads_and_logs_nothing(tmp_path: Path) -> None:
    settings = sqlite_in(tmp_path) | {"LOG_LEVEL": "DEBUG"}
    mine = str(models.doubling(tmp_path / "m.onnx"))
    migrate(settings["DATABASE_URL"])
    assert run_here("models", "add", "default", mine, **settings).returncode == 0
    assert run_here("models", "add", "flowers", str(IRIS_MODEL), **settings).returncode == 0
    done = run("check", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"✓ database: {settings['DATABASE_URL']}",
        "✓ storing: a registration, a claim and a result",
        "✓ access to the API",
        "✓ model default: version 2",
        "✓ model flowers: version 1",
    ]
    done = run_here(
        "check", MODEL_FILEPATH=str(IRIS_MODEL), LABEL_FILEPATH=str(IRIS_LABELS), **settings
    )
    assert f"✓ model file: {IRIS_MODEL}" in done.stdout.splitlines()


def test_check_goes_on_after_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    settings = sqlite_in(tmp_path)
    migrate(settings["DATABASE_URL"])
    mine = str(models.doubling(tmp_path / "m.onnx"))
    assert run_here("models", "add", "pairs", mine, **settings).returncode == 0
    database = Database(settings["DATABASE_URL"])
    with database.write() as connection:
        connection.exec_driver_sql(
            "DELETE FROM model_files WHERE sha256 = (SELECT sha256 FROM models WHERE id = 1)"
        )
    database.close()
    done = run_here("check", **settings)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ the file of version 1 of the model default" in done.stdout
    assert "✓ model pairs: version 1" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("up", "--port", "99999"), "--port must be less than or equal to 65535, got 99999"),
        (("job", "--batch-wait-time", "0"), "--batch-wait-time must be greater than 0, got 0"),
    ],
)
def test_an_option_that_cannot_work_is_named_as_it_was_given(
    words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = run_here(*words, **sqlite_in(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {says}\nhint: correct {words[1]}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("up", "--port", "abc"), "expected an integer, got abc"),
        (("job", "--batch-wait-time", "soon"), "expected a number, got soon"),
        (("backfill", "x", "--since", "yesterday"), "or 2026-11-01T12:30:00, got yesterday"),
        (("verify", "--since", "2026-13-01"), "or 2026-11-01T12:30:00, got 2026-13-01"),
        (("verify", "--since", "0001-01-01T00:00+05:00"), "got 0001-01-01T00:00+05:00"),
    ],
)
def test_an_option_that_cannot_be_read_says_what_was_expected(
    words: tuple[str, ...], says: str
) -> None:
    done = run_here(*words, COLUMNS="200")
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("command", ["up", "api"])
def test_a_port_that_is_taken_is_reported_before_anything_starts(
    command: str, tmp_path: Path
) -> None:
    settings = sqlite_in(tmp_path)
    migrate(settings["DATABASE_URL"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(command, PORT=str(port), **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1, port {port}: Address already in use",
        f"hint: choose another port: batchline {command} --port {port + 1}",
    ]


def test_a_host_that_is_not_of_this_machine_is_reported(tmp_path: Path) -> None:
    done = run("up", HOST="192.0.2.1", **sqlite_in(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot listen on 192.0.2.1, port 8000: ")
    assert "hint: set HOST to an address of this machine" in done.stderr
