"""Models as data: versions, several models in one backlog, and files that cannot be had."""

import dataclasses
import json
from pathlib import Path

import orjson
import pytest
from sqlalchemy import update

from batchline.constants import DEFAULT_MODEL, IRIS_MODEL
from batchline.db import backfills
from batchline.db.backfills import NewBackfill
from batchline.db.cruds import items, results, versions
from batchline.db.cruds.claim_lock import acquire_claim_lock
from batchline.db.database import Database
from batchline.db.migrations import upgrade
from batchline.db.models import models as models_table
from batchline.db.new_items import NewItems
from batchline.errors import ConfigurationError, ModelUnavailable, UnknownModel
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.runtime import Runtime
from batchline.registry import model_file, publish
from batchline.registry.files import read_file
from batchline.registry.loaded import ModelCache
from batchline.registry.model_file import ModelFile, Sample
from batchline.registry.renewal import renew
from batchline.registry.version import (
    SIGNATURE_FORMAT,
    KnownVersions,
    Version,
    read_model,
    read_version,
)
from batchline.task.job import Job
from tests import models
from tests.database.test_jobs import count, read, run
from tests.jobs import ACTOR, EVERYTHING, active, add_model, make_job

IRIS_ROW = "[[5.1, 3.5, 1.4, 0.2]]"


def register(database: Database, *pairs: tuple[str, str]) -> list[int]:
    names, data = [name for name, _ in pairs], [text for _, text in pairs]
    with database.write() as connection:
        return items.register(connection, NewItems(data, names))


def sql(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)


def with_versions(job: Job, max_bytes: int) -> Job:
    return dataclasses.replace(job, models=ModelCache(job.database, Runtime(), max_bytes))


def test_items_of_several_models_are_each_predicted_by_their_own(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.doubling(tmp_path / "a.onnx"), name="doubling")
    add_model(database, models.two_inputs(tmp_path / "b.onnx"), name="sums")
    ids = register(
        database,
        (DEFAULT_MODEL, IRIS_ROW),
        ("doubling", "[[1, 2]]"),
        ("sums", '{"a": [[1], [2]], "b": [[3], [4]]}'),
        ("doubling", "[[1, 2, 3]]"),
        (DEFAULT_MODEL, IRIS_ROW),
    )
    outcome = run(make_job(database))
    assert (outcome.succeeded, outcome.failed, outcome.rows) == (4, 1, 5)
    iris, doubled, sums, wrong, _ = (read(database, item_id) for item_id in ids)
    assert iris.prediction.startswith('{"setosa":')
    assert (items.text_of(doubled.model), doubled.prediction) == (
        "doubling",
        '{"doubled":[2.0,4.0]}',
    )
    assert (items.text_of(sums.model), sums.prediction) == ("sums", '[{"sum":[4.0]},{"sum":[6.0]}]')
    assert (items.text_of(wrong.model), wrong.code) == ("doubling", "invalid_data")


def test_many_registrations_of_several_models_keep_their_models(database: Database) -> None:
    names = ["one", "two", DEFAULT_MODEL] * 100
    ids = register(database, *((name, f"[{n}]") for n, name in enumerate(names)))
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT id, model, data FROM items ORDER BY id").all()
    assert [tuple(row) for row in rows] == [
        (item_id, name, f"[{n}]") for n, (item_id, name) in enumerate(zip(ids, names, strict=True))
    ]


def test_sql_clients_name_the_model_in_a_column(database: Database, tmp_path: Path) -> None:
    add_model(database, models.doubling(tmp_path / "a.onnx"), name="doubling")
    sql(database, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'doubling')")
    sql(database, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'nobody''s')")
    sql(database, "INSERT INTO items (data, model) VALUES ('[[1, 2]]', 'Doubling')")
    run(make_job(database))
    assert read(database, 1).prediction == '{"doubled":[2.0,4.0]}'
    for item_id in (2, 3):
        assert read(database, item_id).code == "unknown_model"
    assert "must be one of default, doubling" in read(database, 2).detail


def test_items_are_predicted_by_the_version_that_is_active_when_they_are_claimed(
    database: Database, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "a.onnx"))
    register(database, (DEFAULT_MODEL, "[[1, 2]]"), (DEFAULT_MODEL, "[[1, 2]]"))
    second = add_model(database, models.zeroed(tmp_path / "b.onnx"), active=False)
    assert not second.active
    claim = job.hand.claim_pending(job.pace.items)
    assert claim is not None
    with database.write() as connection:
        versions.activate(connection, DEFAULT_MODEL, second.id, ACTOR)
    job.predict(claim)
    assert [read(database, item_id).version for item_id in (1, 2)] == [2, 2]


def test_an_item_shows_the_active_versions_answer_or_the_newest_or_the_one_asked_for(
    database: Database, tmp_path: Path
) -> None:
    job = make_job(database, models.doubling(tmp_path / "a.onnx"))
    register(database, (DEFAULT_MODEL, "[[1, 2]]"))
    run(job)
    first = active(job)
    second = add_model(database, models.zeroed(tmp_path / "b.onnx"))
    assert read(database, 1).version == 1  # the active one has none
    sql(
        database,
        "INSERT INTO predictions (item_id, model_id, prediction) "
        f"VALUES (1, {second.id}, '\"second\"')",
    )
    assert (read(database, 1).version, read(database, 1).prediction) == (2, '"second"')
    with database.write() as connection:
        versions.activate(connection, DEFAULT_MODEL, first.id, ACTOR)
    assert read(database, 1).version == 1
    with database.read() as connection:
        asked = items.get_version_result(connection, 1, version=2)
        page = items.list_page(connection, limit=10).items
        assert items.get_version_result(connection, 1, version=3) is None
        assert items.get_many(connection, [1])[1].version == 1
    assert asked is not None
    assert asked.prediction == '"second"'
    assert [(record.id, record.version) for record in page] == [(1, 1)]


def test_a_model_whose_file_is_gone_fails_its_own_items_only(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MODEL_STORED_MAX_BYTES", 10)
    large = models.doubling(tmp_path / "large.onnx")
    assert add_model(database, large, name="large").location == str(large)
    job = make_job(database, IRIS_MODEL)
    register(database, ("large", "[[1, 2]]"), (DEFAULT_MODEL, IRIS_ROW))
    content = large.read_bytes()
    for spoilt in (None, models.zeroed(tmp_path / "other.onnx").read_bytes()):
        large.unlink()
        if spoilt:
            large.write_bytes(spoilt)
        run(with_versions(job, 2**30))
        assert read(database, 1).code == "model_unavailable"
        assert read(database, 2).status == "succeeded"
        large.write_bytes(content)
        with database.write() as connection:
            results.retry_failed(connection, item_ids=[1], code=None, limit=1)
    run(with_versions(job, 2**30))
    assert read(database, 1).prediction == '{"doubled":[2.0,4.0]}'


def test_the_least_recently_used_model_is_let_go(database: Database, tmp_path: Path) -> None:
    job = make_job(database)
    for name in ("a", "b"):
        add_model(database, models.doubling(tmp_path / "m.onnx", width=ord(name)), name=name)
    size = active(job, "a").size
    versions = ModelCache(database, Runtime(), 2 * size + 10)
    a, b = active(job, "a"), active(job, "b")
    first = versions.predictor(a)
    versions.predictor(b)
    assert versions.predictor(a) is first
    versions.predictor(active(job))  # larger than both: all others go
    assert versions.predictor(a) is not first


def test_a_file_is_stored_once_in_parts_and_comes_back_whole(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MODEL_PART_BYTES", 100)
    model = models.doubling(tmp_path / "a.onnx")
    record = add_model(database, model, name="a")
    add_model(database, model, name="b")
    assert count(database, "model_files") == -(-len(model.read_bytes()) // 100)
    with database.read() as connection:
        assert versions.read_file(connection, record.sha256) == model.read_bytes()


def test_a_version_that_an_older_batchline_published_says_how_to_mend_it(
    database: Database,
) -> None:
    job = make_job(database)
    sql(database, "UPDATE models SET batching = NULL")
    with pytest.raises(ModelUnavailable, match="older Batchline") as caught:
        job.models.predictor(dataclasses.replace(active(job), batching=None))
    assert "models add" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ä", "a/b", "a'b"])
def test_names_that_fit_nowhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid name"):
        publish.check_name(name)


def test_a_model_file_may_be_a_url(tmp_path: Path) -> None:
    path = models.doubling(tmp_path / "a.onnx")
    assert read_file(f"file://{path}") == path.read_bytes()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(f"file://{tmp_path}/missing.onnx")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ModelFile.read("nowhere://a.onnx")


def test_rows_of_a_model_that_is_predicted_alone_have_the_models_own_answers(
    database: Database, tmp_path: Path
) -> None:
    add_model(database, models.fixed_batch(tmp_path / "a.onnx"), name="threes")
    add_model(database, models.scaled_by(tmp_path / "b.onnx"), name="scaled")
    register(
        database,
        ("threes", "[[1, 2], [3, 4], [5, 6], [7, 8]]"),
        ("scaled", '{"x": [[1], [1, 2]], "factor": 3}'),
        ("scaled", '{"x": [[1]], "factor": 5}'),
    )
    run(make_job(database))
    rows = orjson.loads(read(database, 1).prediction)
    assert [row["y"] for row in rows] == [[2, 4], [6, 8], [10, 12], [14, 16]]
    assert orjson.loads(read(database, 2).prediction) == [{"y": [3]}, {"y": [3, 6]}]
    assert orjson.loads(read(database, 3).prediction) == {"y": [5]}


def test_a_name_that_is_no_text_harms_nobody(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'batchline.db'}")
    upgrade(database)
    job = make_job(database)
    for name in ("CAST(x'fffe' AS TEXT)", "x'fffe'", "''"):
        sql(database, f"INSERT INTO items (data, model) VALUES ('{IRIS_ROW}', {name})")
    register(database, (DEFAULT_MODEL, IRIS_ROW))
    run(job)
    assert [read(database, n).code for n in (1, 2, 3)] == ["unknown_model"] * 3
    assert read(database, 4).status == "succeeded"
    with database.read() as connection:
        page = items.list_page(connection, limit=10).items
    assert [items.text_of(record.model) for record in page][2:] == ["", DEFAULT_MODEL]
    database.close()


def test_a_removed_version_frees_its_file_and_its_predictions_still_name_it(
    database: Database, tmp_path: Path
) -> None:
    job = make_job(database)
    [item_id] = register(database, (DEFAULT_MODEL, IRIS_ROW))
    run(job)
    first = active(job)
    second = add_model(database, models.doubling(tmp_path / "m.onnx", width=4))
    publish.remove(database, read_version(database, DEFAULT_MODEL, 1), ACTOR)
    assert read(database, item_id).version == 1
    with database.read() as connection:
        assert not versions.has_file(connection, first.sha256)
        assert versions.has_file(connection, second.sha256)
    with pytest.raises(ModelUnavailable, match="was removed"):
        ModelCache(database, Runtime(), EVERYTHING).predictor(
            read_version(database, DEFAULT_MODEL, 1)
        )
    with pytest.raises(ConfigurationError, match="was removed"):
        publish.activate(database, read_version(database, DEFAULT_MODEL, 1), ACTOR)
    assert add_model(database).number == 3  # the same file again is a new version


def test_the_active_version_cannot_be_removed(database: Database) -> None:
    add_model(database)
    with pytest.raises(ConfigurationError, match="is active") as caught:
        publish.remove(database, read_version(database, DEFAULT_MODEL, 1), ACTOR)
    assert "batchline models activate" in caught.value.hint


def test_a_version_that_a_backfill_needs_cannot_be_removed(
    database: Database, tmp_path: Path
) -> None:
    add_model(database)
    second = add_model(database, models.doubling(tmp_path / "m.onnx", width=4), active=False)
    register(database, (DEFAULT_MODEL, IRIS_ROW))
    with database.write() as connection:
        backfills.start(connection, NewBackfill(second.name, second.id, "succeeded"), ACTOR)
    with pytest.raises(ConfigurationError, match="a backfill predicts"):
        publish.remove(database, second, ACTOR)


def test_a_file_that_another_version_has_too_is_kept(database: Database, tmp_path: Path) -> None:
    file = models.doubling(tmp_path / "m.onnx")
    add_model(database, file, name="one")
    add_model(database, models.negated(tmp_path / "n.onnx"), name="one")
    other = add_model(database, file, name="other")
    publish.remove(database, read_version(database, "one", 1), ACTOR)
    with database.read() as connection:
        assert versions.has_file(connection, other.sha256)


def test_pruning_keeps_the_newest_versions_and_the_active_one(
    database: Database, tmp_path: Path
) -> None:
    made = [
        add_model(database, models.doubling(tmp_path / f"{n}.onnx", width=n), name="nightly")
        for n in range(1, 7)
    ]
    publish.activate(database, made[1], ACTOR)
    removed = publish.prune(database, "nightly", keep=2, actor=ACTOR)
    assert [version.number for version in removed] == [1, 3, 4]
    assert publish.prune(database, "nightly", keep=2, actor=ACTOR) == []


def test_a_version_that_was_removed_meanwhile_does_not_become_active(
    database: Database, tmp_path: Path
) -> None:
    first = add_model(database, models.doubling(tmp_path / "a.onnx"))
    second = add_model(database, models.zeroed(tmp_path / "b.onnx"), active=False)
    publish.remove(database, second, ACTOR)
    with pytest.raises(ConfigurationError, match="was removed"):
        publish.activate(database, second, ACTOR)  # as it was read before
    assert KnownVersions(database).active()[DEFAULT_MODEL].id == first.id


def test_no_model_has_a_name_with_nul(database: Database) -> None:
    with pytest.raises(UnknownModel):
        read_model(database, "a\0b")


def to_old_format(database: Database, version: Version, **changed: object) -> None:
    """Store a version as a Batchline did that knew no roles of outputs."""
    signature = {
        "inputs": [{k: v for k, v in e.items() if k != "axis"} for e in to_json(version, "inputs")],
        "outputs": [
            {key: each[key] for key in ("name", "dtype", "shape", "per_row")}
            for each in to_json(version, "outputs")
        ],
        "labels": version.signature.labels,
    }
    options = json.loads(version.options or "{}")
    del options["format"]
    values = {"signature": json.dumps(signature | changed), "options": json.dumps(options)}
    with database.write() as connection:
        connection.execute(update(models_table).values(values))


def examine(file: ModelFile, sample: Sample) -> ModelReport:
    return file.examine(sample, None)


def to_json(version: Version, key: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = version.signature.to_json()[key]
    return found


def test_an_old_version_whose_predictions_keep_their_form_is_renewed_in_place(
    database: Database,
) -> None:
    added = add_model(database)
    to_old_format(database, added)
    assert read_version(database, DEFAULT_MODEL, 1).format == 1
    [renewal] = renew(database, examine, ACTOR)
    assert (renewal.successor, renewal.problem) == (None, None)
    assert read_version(database, DEFAULT_MODEL, 1).signature == added.signature
    assert list(renew(database, examine, ACTOR)) == []
    assert add_model(database).number == 1


def to_format_2(database: Database, version: Version) -> None:
    """Store a version as a Batchline did that knew no missing values and no names of features."""
    signature = version.signature.to_json()
    del signature["features"]
    for each in signature["inputs"]:
        del each["missing"], each["missing_text"]
    options = json.loads(version.options or "{}") | {"format": 2}
    signature |= {"format": 2, "example": version.example}
    values = {"signature": json.dumps(signature), "options": json.dumps(options, sort_keys=True)}
    with database.write() as connection:
        connection.execute(update(models_table).values(values))


def test_a_renewed_version_accepts_missing_values_from_then_on(
    database: Database, tmp_path: Path
) -> None:
    added = add_model(database, models.tracking(tmp_path / "m.onnx", 1, 0, feature_names="a,b"))
    assert added.signature.inputs[0].missing == (True, False)
    to_format_2(database, added)
    old = read_version(database, DEFAULT_MODEL, 1)
    assert (old.format, old.signature.inputs[0].missing, old.signature.features) == (2, (), None)
    [renewal] = renew(database, examine, ACTOR)
    assert (renewal.successor, renewal.problem) == (None, None)
    renewed = read_version(database, DEFAULT_MODEL, 1)
    assert (renewed.signature, renewed.notes) == (added.signature, added.notes)
    assert list(renew(database, examine, ACTOR)) == []


def test_a_version_is_renewed_with_its_options_and_by_its_example(
    database: Database, tmp_path: Path
) -> None:
    path, sample = models.picky(tmp_path / "m.onnx", first=1000), b"[[1001], [1002], [1003]]"
    file = ModelFile.read(str(path), choices=Choices(rows_axis="0"))
    added = publish.add(
        database, "m", file, file.examine(("rows", sample), None), active=True, actor=ACTOR
    )
    to_format_2(database, added)
    [renewal] = renew(database, examine, ACTOR)
    assert (renewal.successor, renewal.problem) == (None, None)
    renewed = read_version(database, "m", 1)
    assert (renewed.options, renewed.batching) == (added.options, added.batching)
    assert (renewed.example, renewed.format) == (added.example, SIGNATURE_FORMAT)


def test_an_old_version_whose_predictions_get_another_form_is_added_anew(
    database: Database,
) -> None:
    added = add_model(database)
    to_old_format(database, added, labels=None)  # it was served as output name → value
    [renewal] = renew(database, examine, ACTOR)
    assert renewal.successor is not None
    assert (renewal.successor.number, renewal.successor.active) == (2, True)
    assert not read_version(database, DEFAULT_MODEL, 1).active


def test_an_old_version_without_its_file_predicts_as_before(database: Database) -> None:
    to_old_format(database, add_model(database))
    sql(database, "DELETE FROM model_files")
    [renewal] = renew(database, examine, ACTOR)
    assert renewal.problem is not None
    assert read_version(database, DEFAULT_MODEL, 1).active


def test_a_version_that_older_code_deactivated_can_be_removed(
    database: Database, tmp_path: Path
) -> None:
    first = add_model(database, models.doubling(tmp_path / "a.onnx"))
    add_model(database, models.zeroed(tmp_path / "b.onnx"))
    with database.write() as connection:
        older = update(models_table).where(models_table.c.id == first.id).values(active=False)
        connection.execute(older)
    publish.remove(database, first, ACTOR)
    assert read_version(database, DEFAULT_MODEL, 1).is_removed


def test_a_damaged_file_is_stored_again_and_an_intact_one_is_not(
    database: Database, tmp_path: Path
) -> None:
    path = models.doubling(tmp_path / "m.onnx")
    version, file = add_model(database, path, name="mine"), ModelFile.read(str(path), None)
    assert not publish.restore(database, version, file, ACTOR)
    for damage in ("UPDATE model_files SET content = 'x'", "DELETE FROM model_files"):
        sql(database, damage)
        assert publish.restore(database, version, file, ACTOR)
        with database.read() as connection:
            assert versions.read_file(connection, version.sha256) == path.read_bytes()


def test_a_start_that_finds_its_file_intact_waits_for_no_claim(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    path = models.doubling(tmp_path / "m.onnx")
    version, file = add_model(database, path, name="mine"), ModelFile.read(str(path), None)
    impatient = Database(database_url, timeout=1)
    with database.write() as holder:
        acquire_claim_lock(holder)
        assert not publish.restore(impatient, version, file, ACTOR)
    impatient.close()
