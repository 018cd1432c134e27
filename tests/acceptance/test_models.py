"""What people do with models, with the commands and over HTTP."""

import json
import re
import shlex
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchline.constants import EXAMPLE_MAX_VALUES, IRIS_LABELS, IRIS_MODEL
from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from tests import models
from tests.api_here import ApiHere
from tests.in_process import run_here
from tests.service import Command, HttpApi, migrate, run, wait_for

IRIS = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'batchline.db'}"
    migrate(url)
    return url


@pytest.fixture
def api(url: str) -> Iterator[HttpApi]:
    with ApiHere(url) as api:
        yield api


def command(url: str, *words: str, status: int = 0) -> str:
    done = run_here(*words, DATABASE_URL=url)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_a_model_is_added_asked_replaced_compared_and_read(
    url: str, api: HttpApi, tmp_path: Path
) -> None:
    first, second = models.doubling(tmp_path / "a.onnx"), models.zeroed(tmp_path / "b.onnx")
    said = command(url, "models", "add", "pairs", str(first))
    assert "version 1 of pairs is active" in said
    assert "input x: float32 [2]" in said
    assert "batching: batched" in said
    assert "hint: name the 2 values of a row with --features" in said
    body = {"model": "pairs", "data": [[1, 2], [3, 4]]}
    item_id = api.http.post("/predict", json=body).json()["id"]
    command(url, "job", "--once")
    item = api.read(item_id)
    assert (item["model"], item["version"]) == ("pairs", 1)
    assert item["prediction"] == [{"doubled": [2, 4]}, {"doubled": [6, 8]}]

    said = command(url, "models", "add", "pairs", str(second), "--no-activate")
    assert "version 2 of pairs is stored, and not active" in said
    assert "batching: batched" in said
    assert "1 item predicted, 0 failed" in command(
        url, "backfill", "pairs", "--version", "2", "--since", "2020-01-01"
    )
    assert api.read(item_id)["version"] == 1
    other = api.http.get(f"/predict/id/{item_id}", params={"version": 2}).json()
    assert (other["version"], other["prediction"]) == (2, [{"y": [0, 0]}, {"y": [0, 0]}])
    assert api.http.get(f"/predict/id/{item_id}", params={"version": 3}).status_code == 404
    assert "both versions predicted: 1" in command(url, "models", "diff", "pairs", "1", "2")
    command(url, "models", "activate", "pairs", "2")
    assert api.read(item_id)["version"] == 2
    listed = command(url, "models", "list")
    assert len(re.findall("pairs", listed)) == 2


class Slow(Command):
    """A command whose calls of the model take a fifth of a second more."""

    program = (
        "-c",
        """
import time
from batchline import cli
from batchline.ml.predictor import Predictor

predict = Predictor.predict

def predict_slowly(predictor, rows):
    time.sleep(0.2)
    return predict(predictor, rows)

Predictor.predict = predict_slowly
cli.main()
""",
    )


def test_a_backfill_that_is_killed_is_finished_by_the_next_job(url: str, tmp_path: Path) -> None:
    command(url, "models", "add", "pairs", str(models.doubling(tmp_path / "a.onnx")))
    database = Database(url)
    with database.write() as connection:
        items.register(connection, NewItems(["[[1, 2]]"] * 20_000, ["pairs"] * 20_000))
    command(url, "job", "--once")
    command(url, "models", "add", "pairs", str(models.zeroed(tmp_path / "b.onnx")))
    for _ in range(3):
        with Slow("backfill", "pairs", DATABASE_URL=url) as backfill:
            wait_for(lambda: count(database, "claims") > 0, "a claim")
            backfill.send(signal.SIGKILL)
            backfill.wait()
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE claims SET expires_at = '2020-01-01 00:00:00'")
    assert count(database, "predictions") < 40_000
    for _ in range(2):  # the second one predicts items whose claims were released meanwhile
        assert run("job", "--once", DATABASE_URL=url).returncode == 0
    assert count(database, "claims") == 0
    with database.read() as connection:
        each = "SELECT count(*) FROM predictions GROUP BY item_id"
        assert set(connection.exec_driver_sql(each).scalars()) == {2}
        unfinished = "SELECT count(*) FROM backfills WHERE ended_at IS NULL"
        assert connection.exec_driver_sql(unfinished).scalar_one() == 0
    database.close()


def test_a_backfill_says_that_other_jobs_may_have_done_a_part_of_it(
    url: str, tmp_path: Path
) -> None:
    command(url, "models", "add", "pairs", str(models.doubling(tmp_path / "a.onnx")))
    database = Database(url)
    with database.write() as connection:
        items.register(connection, NewItems(["[[1, 2]]"], ["pairs"]))
    command(url, "job", "--once")
    assert "note: " not in command(url, "backfill", "pairs")
    with Command("job", DATABASE_URL=url):
        wait_for(lambda: count(database, "job_processes") > 0, "a job")
        assert "leave out the items that other jobs" in command(url, "backfill", "pairs")
    database.close()


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_the_request_that_show_prints_works(url: str, api: HttpApi, tmp_path: Path) -> None:
    command(url, "models", "add", "sums", str(models.two_inputs(tmp_path / "m.onnx")))
    said = command(url, "models", "show", "sums")
    [body] = re.findall(r"-d '(.*)'$", said, re.MULTILINE)
    assert json.loads(body) == {"model": "sums", "data": [{"a": 1.5, "b": 1.5}]}
    assert api.http.post("/predict", content=body).status_code == 202
    assert api.http.get("/models/sums").json()["example"] == json.loads(body)


def test_the_same_file_again_stores_nothing_and_says_so(url: str, tmp_path: Path) -> None:
    model = str(models.doubling(tmp_path / "m.onnx"))
    command(url, "models", "add", "pairs", model)
    assert "version 1 of pairs has this file already" in command(
        url, "models", "add", "pairs", model
    )
    assert "version 2" in command(url, "models", "add", "pairs", model, "--allow-non-finite")


def test_a_removed_version_is_neither_backfilled_nor_suggested_for_it(
    url: str, tmp_path: Path
) -> None:
    for file in (models.doubling(tmp_path / "a.onnx"), models.zeroed(tmp_path / "b.onnx")):
        command(url, "models", "add", "pairs", str(file))
    assert "hint: batchline backfill pairs --version 2" in command(
        url, "models", "diff", "pairs", "1", "2"
    )
    command(url, "models", "remove", "pairs", "1")
    said = command(url, "backfill", "pairs", "--version", "1", status=1)
    assert "the file of version 1 of the model pairs was removed" in said
    assert "hint: " in said
    assert "hint: batchline backfill pairs --version 2" in command(
        url, "models", "diff", "pairs", "2", "1"
    )


def test_a_model_file_that_is_missing_has_a_hint_for_this_command(url: str) -> None:
    said = command(url, "models", "add", "x", "missing.onnx", status=1)
    assert "hint: " in said
    assert "MODEL_FILEPATH" not in said


def test_the_request_that_show_prints_is_of_the_sample(url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[[5.1, 2.5], [3, 4]]")
    file, sample = str(models.doubling(tmp_path / "m.onnx")), str(tmp_path / "rows.json")
    command(url, "models", "add", "pairs", file, "--sample", sample)
    said = command(url, "models", "show", "pairs")
    assert """-d '{"model": "pairs", "data": [[5.1, 2.5]]}'""" in said
    assert '"prediction": {"doubled": [10.2, 5.0]}' in said


def test_what_may_be_missing_and_the_names_of_features_are_shown(
    url: str, api: HttpApi, tmp_path: Path
) -> None:
    path = str(models.tracking(tmp_path / "m.onnx", 1, 0, 1))
    header = tmp_path / "rows.csv"
    header.write_text('age,"income, EUR",height\n1,2,3\n')
    said = command(url, "models", "add", "m", path, "--features", str(header))
    for text in (said, command(url, "models", "show", "m")):
        assert 'features: age, "income, EUR", height' in text
        assert "may be missing: age, height" in text
        assert "note: the features are named by --features" in text
        assert "note: the graph and trials show that age, height may be missing" in text
    wait_for(lambda: api.http.get("/models/m").status_code == 200, "the model")
    found = api.http.get("/models/m").json()
    assert found["features"] == ["age", "income, EUR", "height"]
    assert found["inputs"][0]["missing"] == [True, False, True]
    assert found["inputs"][0]["missing_text"] is None
    assert found["notes"][0] == "the features are named by --features"


def test_the_user_decides_what_may_be_missing(url: str, tmp_path: Path) -> None:
    path = str(models.imputing(tmp_path / "m.onnx"))
    check = ("models", "check", path)
    said = command(url, *check, "--missing", "height", "--no-missing", "age,income")
    assert "may be missing: height\n" in said
    assert "warning: the model fails or gives no finite numbers if height is missing" in said
    said = command(url, *check, "--missing-text", "city=unknown")
    assert 'may be missing: city, for which the model gets "unknown"' in said
    said = command(url, *check, "--missing", "hight", status=1)
    assert "the model has no feature hight" in said
    assert "name a feature: height" in said


def test_other_options_make_another_version(url: str, tmp_path: Path) -> None:
    add = ("models", "add", "m", str(models.tracking(tmp_path / "m.onnx", 1, 0)))
    assert "version 1 of m is active" in command(url, *add)
    assert "version 2 of m is active" in command(url, *add, "--no-missing", "all")
    assert "version 3 of m is active" in command(url, *add, "--features", "a,b")
    assert "version 1 of m has this file already" in command(url, *add)
    assert "version 3 of m has this file already" in command(url, *add, "--features", "a,b")


def test_names_of_features_that_a_new_version_lacks_are_told_with_what_keeps_them(
    url: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    add = ("models", "add", "m", str(models.tracking(path, 1, 0)))
    names = 'age,"income, EUR"'
    assert "warning" not in command(url, *add, "--features", names)
    models.tracking(path, 0, 1)
    said = command(url, *add)
    assert "warning: version 1 has names for its features, and version 2 has none" in said
    [line] = [each for each in said.splitlines() if each.startswith("hint: ")]
    said = command(url, *add, *shlex.split(line.partition("again with ")[2]))
    assert 'features: age, "income, EUR"' in said
    assert "warning" not in said


def test_checking_stores_nothing(url: str, api: HttpApi, tmp_path: Path) -> None:
    assert "batched" in command(url, "models", "check", str(models.doubling(tmp_path / "m.onnx")))
    assert [model["name"] for model in api.http.get("/models").json()["models"]] == ["default"]


def test_check_finds_a_version_that_no_job_could_load(url: str) -> None:
    assert "✓ model default: version 1" in command(url, "check")
    database = Database(url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE model_files SET content = x'00'")
    database.close()
    said = command(url, "check", status=1)
    assert "version 1 of the model default in the database has changed" in said


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, HttpApi]]:
    shared_url = f"sqlite:///{tmp_path_factory.mktemp('models') / 'x.db'}"
    migrate(shared_url)
    with ApiHere(shared_url) as service:
        yield shared_url, service


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "a b", str(IRIS_MODEL)], "not a valid name"),
        (["add", "x", "missing.onnx"], "cannot be read"),
        (["add", "x", str(IRIS_LABELS)], "is not a model"),
        (["add", "x", str(IRIS_MODEL), "--labels", str(IRIS_MODEL)], "label file"),
        (["add", "x", str(IRIS_MODEL), "--sample", "missing.json"], "sample file"),
        (["add", "x", "nowhere://x.onnx"], "cannot be read"),
        (["show", "nobody"], "no model has the name 'nobody'"),
        (["show", "default", "--version", "9"], "has no version 9"),
        (["activate", "default", "9"], "use one of its versions: 1"),
        (["diff", "default", "1", "9"], "has no version 9"),
    ],
)
def test_what_cannot_be_done_ends_with_a_sentence_and_a_hint(
    words: list[str], said: str, shared: tuple[str, HttpApi]
) -> None:
    url, api = shared
    output = command(url, "models", *words, status=1)
    assert said in output
    assert "hint: " in output
    assert "Traceback" not in output
    assert len(api.http.get("/models").json()["models"]) == 1


def test_a_request_for_a_model_that_there_is_not_names_those_that_there_are(
    url: str, api: HttpApi, tmp_path: Path
) -> None:
    body = {"model": "pairs", "data": [[1, 2]]}
    answer = api.http.post("/predict", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    assert "default" in answer.json()["hint"]
    command(url, "models", "add", "pairs", str(models.doubling(tmp_path / "m.onnx")))
    wait_for(lambda: api.http.post("/predict", json=body).status_code == 202, "the new model")
    wrong = api.http.post("/predict", json={"model": "pairs", "data": [IRIS]})
    assert wrong.json()["errors"][0] == {
        "pointer": "/data/0",
        "code": "wrong_width",
        "detail": "expected 2 values, got 4",
    }


def test_the_default_model_is_that_of_the_setting_and_otherwise_stays(
    url: str, api: HttpApi, tmp_path: Path
) -> None:
    mine = str(models.doubling(tmp_path / "m.onnx"))
    assert run_here("job", "--once", DATABASE_URL=url, MODEL_FILEPATH=mine).returncode == 0
    command(url, "job", "--once")
    [model] = api.http.get("/models").json()["models"]
    assert (model["name"], model["version"]) == ("default", 2)


def test_clients_of_the_open_inference_protocol_read_the_inputs(api: HttpApi) -> None:
    assert api.http.get("/v2/health/live").json() == {"live": True}
    assert api.http.get("/v2/health/ready").json() == {"ready": True}
    assert api.http.get("/v2").json()["name"] == "batchline"
    model = api.http.get("/v2/models/default").json()
    assert model["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]
    assert model["outputs"][-1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert model["versions"] == ["1"]
    assert api.http.get("/v2/models/default/ready").json() == {"ready": True}
    assert api.http.get("/v2/models/nobody").status_code == 404


def test_an_idempotency_key_belongs_to_the_model_too(
    url: str, api: HttpApi, tmp_path: Path
) -> None:
    command(url, "models", "add", "fours", str(models.doubling(tmp_path / "m.onnx", width=4)))

    def send(**body: object) -> int:
        headers = {"Idempotency-Key": "one"}
        return api.http.post("/predict", json={"data": [IRIS], **body}, headers=headers).status_code

    assert send() == send(model="default") == 202
    assert send(model="fours") == send(data={"X": [IRIS]}) == 422


def test_lines_of_a_file_may_be_for_several_models(url: str, api: HttpApi, tmp_path: Path) -> None:
    command(url, "models", "add", "pairs", str(models.doubling(tmp_path / "m.onnx")))
    lines = [{"data": [IRIS]}, {"data": [[1, 2]], "model": "pairs"}, {"data": [IRIS], "model": "x"}]
    body = "\n".join(map(json.dumps, lines))
    told = [json.loads(line) for line in api.http.post("/items", content=body).text.splitlines()]
    assert told[0] == {"lines": [1, 2], "ids": [1, 2]}
    assert told[1]["error"]["code"] == "unknown_model"
    command(url, "job", "--once")
    assert [api.read(item_id)["model"] for item_id in (1, 2)] == ["default", "pairs"]


def test_a_large_input_has_no_example_in_responses(url: str, api: HttpApi, tmp_path: Path) -> None:
    small, large = EXAMPLE_MAX_VALUES, EXAMPLE_MAX_VALUES + 1
    for name, width in (("small", small), ("large", large)):
        command(url, "models", "add", name, str(models.doubling(tmp_path / f"{name}.onnx", width)))
    found = {name: api.http.get(f"/models/{name}").json() for name in ("small", "large")}
    assert len(found["small"]["example"]["data"][0]) == small
    assert found["large"]["example"] is None
    listed = {each["name"]: each["example"] for each in api.http.get("/models").json()["models"]}
    assert (listed["small"] is None, listed["large"]) == (False, None)


def test_an_upgrade_says_that_the_model_file_of_the_settings_replaces_the_default(
    url: str, tmp_path: Path
) -> None:
    mine = str(models.doubling(tmp_path / "mine.onnx"))
    upgrade = ("db", "upgrade", "--model-filepath", mine)
    replaced = (
        "version 2 of the model default: active instead of version 1, "
        f"because MODEL_FILEPATH is {mine}"
    )
    assert command(url, *upgrade).splitlines() == ["database migrated", replaced]
    assert command(url, *upgrade).splitlines() == ["database migrated"]
    assert command(url, "db", "upgrade").splitlines() == ["database migrated"]
    command(url, "models", "activate", "default", "1")
    assert command(url, *upgrade).splitlines() == ["database migrated", replaced]
    labels = tmp_path / "labels.json"
    labels.write_text(IRIS_LABELS.read_text().replace("setosa", "Setosa"))
    assert command(url, "db", "upgrade", "--label-filepath", str(labels)).splitlines()[1:] == [
        "version 3 of the model default: active instead of version 2, "
        f"because MODEL_FILEPATH is {IRIS_MODEL} and LABEL_FILEPATH is {labels}"
    ]


def test_a_job_says_that_the_model_file_of_the_settings_replaces_the_default(
    url: str, tmp_path: Path
) -> None:
    mine = str(models.doubling(tmp_path / "mine.onnx"))
    settings = {"DATABASE_URL": url, "MODEL_FILEPATH": mine}
    first, second = (run_here("job", "--once", **settings) for _ in range(2))
    assert "default model replaced by MODEL_FILEPATH" in first.stdout + first.stderr
    assert "replaced" not in second.stdout + second.stderr


def test_the_first_upgrade_replaces_no_default_model(tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.db'}"
    assert command(new, "db", "upgrade") == "database migrated\n"


def test_adding_the_file_again_repairs_the_stored_one(url: str, tmp_path: Path) -> None:
    add = ("models", "add", "mine", str(models.doubling(tmp_path / "m.onnx")))
    command(url, *add)
    with sqlite3.connect(tmp_path / "batchline.db") as connection:
        connection.execute("UPDATE model_files SET content = substr(content, 1, 50)")
    said = command(url, "check", status=1)
    assert "hint: add the original file again with `batchline models add`" in said

    said = command(url, *add)
    assert "the stored file of version 1 of mine was damaged, and is replaced by this one" in said
    assert "hint: run `batchline retry --code model_unavailable`" in said
    assert "✓ model mine: version 1" in command(url, "check", status=1)  # not the default one
