"""A result belongs to its item's model and data as they are when it is stored.

Each test lets somebody else do one thing at one moment of a batch, step by step, on every database.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from batchline.constants import DEFAULT_MODEL
from batchline.db import backfills
from batchline.db.backfills import NewBackfill
from batchline.db.cruds import items, versions
from batchline.db.cruds.items import StoredItem
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.registry.version import Version
from batchline.task.job import Job
from tests import models
from tests.database.test_jobs import during_prediction, read, run
from tests.jobs import ACTOR, add_model, make_job

pytestmark = pytest.mark.every_server


@pytest.fixture
def job(database: Database, tmp_path: Path) -> Job:
    """Its default model doubles the numbers of a row."""
    return make_job(database, models.doubling(tmp_path / "doubling.onnx"))


def register(database: Database, *numbers: int, model: str = DEFAULT_MODEL) -> list[int]:
    data = [f"[[{number}, {number}]]" for number in numbers]
    with database.write() as connection:
        return items.register(connection, NewItems(data, [model] * len(data)))


def sql(database: Database, statement: str) -> int:
    with database.write() as connection:
        return connection.exec_driver_sql(statement).rowcount


def answer(database: Database, item_id: int) -> tuple[str, str | None]:
    item = read(database, item_id)
    return item.status, item.prediction


def doubled(number: int) -> tuple[str, str]:
    return "succeeded", f'{{"doubled":[{2.0 * number},{2.0 * number}]}}'


@contextmanager
def after_first(database: Database, words: str, do: Callable[[], object]) -> Iterator[None]:
    """Do something once, right after the first statement that has these words."""
    done = threading.Event()

    def listen(
        connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool
    ) -> None:
        if words in statement.lower() and not done.is_set():
            done.set()
            do()

    event.listen(database.engine, "after_cursor_execute", listen)
    yield
    event.remove(database.engine, "after_cursor_execute", listen)
    assert done.is_set()


def in_a_thread(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do)
    thread.start()
    return thread


def change(item_id: int, number: int) -> str:
    return (
        f"UPDATE items SET data = '[[{number}, {number}]]' "
        f"WHERE id = {item_id} AND status = 'pending'"
    )


# The model -----------------------------------------------------------------------------------


def test_an_item_of_another_model_that_appears_after_the_first_look_is_left_to_its_own_model(
    database: Database, job: Job, tmp_path: Path
) -> None:
    add_model(database, models.square_root(tmp_path / "root.onnx"), name="roots")
    first, gap, last = register(database, 1, 2, 3)
    sql(database, f"DELETE FROM items WHERE id = {gap}")
    late = f"INSERT INTO items (id, data, model) VALUES ({gap}, '[[16]]', 'roots')"
    if database.engine.dialect.name == "sqlite":  # it has one writer, and a job reads without one
        other = Database(database.engine.url.render_as_string(hide_password=False))
    else:
        other = database
    with after_first(database, "sum(", lambda: sql(other, late)):
        run(job)
    assert answer(database, first) == doubled(1)
    assert answer(database, last) == doubled(3)
    run(job)
    assert read(database, gap).prediction == '{"root":[4.0]}'


def test_an_item_that_gets_another_model_while_it_is_predicted_is_predicted_by_that_one(
    database: Database, job: Job, tmp_path: Path
) -> None:
    add_model(database, models.square_root(tmp_path / "root.onnx"), name="roots")
    ids = register(database, 1, 2, 3)
    statement = f"UPDATE items SET model = 'roots', data = '[[16]]' WHERE id = {ids[1]}"
    run(during_prediction(job, statement))
    assert answer(database, ids[0]) == doubled(1)
    assert answer(database, ids[2]) == doubled(3)
    run(job)
    assert read(database, ids[1]).prediction == '{"root":[4.0]}'


def test_items_that_all_get_another_model_while_they_are_predicted_are_predicted_by_that_one(
    database: Database, job: Job, tmp_path: Path
) -> None:
    add_model(database, models.square_root(tmp_path / "root.onnx"), name="roots")
    ids = register(database, 16, 16)
    run(during_prediction(job, "UPDATE items SET model = 'roots', data = '[[16]]'"))
    run(job)
    assert [read(database, each).prediction for each in ids] == ['{"root":[4.0]}'] * 2


def test_a_name_with_a_space_at_its_end_is_another_model(database: Database, job: Job) -> None:
    plain, spaced = register(database, 1, 2)
    sql(database, f"UPDATE items SET model = 'default ' WHERE id = {spaced}")
    run(job)
    run(job)
    assert answer(database, plain) == doubled(1)
    assert read(database, spaced).code == "unknown_model"


def test_a_name_in_bytes_is_not_the_model_whose_name_it_spells(
    database: Database, database_kind: str, job: Job
) -> None:
    if database_kind != "sqlite":
        return  # only SQLite stores bytes in a column of text
    plain, bytes_too = register(database, 1, 2)
    sql(database, f"UPDATE items SET model = CAST('default' AS BLOB) WHERE id = {bytes_too}")
    run(job)
    assert answer(database, plain) == doubled(1)
    assert read(database, bytes_too).code == "unknown_model"


# The data ------------------------------------------------------------------------------------


def test_data_that_is_corrected_while_it_is_predicted_gets_its_own_prediction(
    database: Database, job: Job
) -> None:
    ids = register(database, 1, 2, 3)
    run(during_prediction(job, change(ids[1], 50)))
    assert answer(database, ids[0]) == doubled(1)
    assert answer(database, ids[2]) == doubled(3)
    run(job)
    assert answer(database, ids[1]) == doubled(50)


def test_data_that_is_corrected_before_it_fails_gets_its_own_result(
    database: Database, job: Job
) -> None:
    [item_id] = register(database, 1)
    sql(database, f"UPDATE items SET data = 'oops' WHERE id = {item_id}")
    register(database, 5)  # the model is called for this one
    run(during_prediction(job, change(item_id, 7)))
    run(job)
    assert answer(database, item_id) == doubled(7)


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("UPDATE items SET status = 'canceled' WHERE id = {}", "canceled"),
        ("DELETE FROM items WHERE id = {}", None),
    ],
)
def test_an_item_that_is_canceled_or_deleted_meanwhile_stays_so(
    database: Database, job: Job, statement: str, status: str | None
) -> None:
    ids = register(database, 1, 2, 3)
    run(during_prediction(job, statement.format(ids[1])))
    assert [answer(database, item_id) for item_id in (ids[0], ids[2])] == [doubled(1), doubled(3)]
    with database.read() as connection:
        found = items.get(connection, ids[1])
        left = connection.exec_driver_sql(
            f"SELECT count(*) FROM predictions WHERE item_id = {ids[1]}"
        ).scalar()
    assert left == 0
    assert (found and found.status) == status


def test_a_client_that_comes_while_results_are_stored_finds_the_item_finished(
    database: Database, database_kind: str, job: Job
) -> None:
    ids = register(database, 1, 2, 3)
    changed: list[int] = []
    other = Database(database.engine.url.render_as_string(hide_password=False))

    def correct() -> None:
        threads.append(in_a_thread(lambda: changed.append(sql(other, change(ids[1], 50)))))

    threads: list[threading.Thread] = []
    with after_first(database, "update items set status", correct):
        run(job)
    for thread in threads:
        thread.join()
    other.close()
    assert changed == [0]
    assert answer(database, ids[1]) == doubled(2)


# Earlier results -----------------------------------------------------------------------------


def second_version(database: Database, tmp_path: Path) -> Version:
    """Another version of the default model, which negates, and is not active."""
    return add_model(database, models.negated(tmp_path / "negated.onnx"), active=False)


def backfill(database: Database, version: Version) -> None:
    new = NewBackfill(version.name, version.id, "succeeded")
    with database.write() as connection:
        backfills.start(connection, new, ACTOR)


def result_of(database: Database, item_id: int, version: int) -> StoredItem | None:
    with database.read() as connection:
        return items.get_version_result(connection, item_id, version)


def test_new_data_of_a_finished_item_leaves_no_result_of_the_old_data(
    database: Database, job: Job, tmp_path: Path
) -> None:
    second = second_version(database, tmp_path)
    one, two = register(database, 1, 2)
    run(job)
    backfill(database, second)
    run(job)
    assert result_of(database, one, 2) is not None
    new = f"UPDATE items SET status = 'pending', data = '[[50, 50]]' WHERE id = {one}"
    sql(database, new)
    run(job)
    assert answer(database, one) == doubled(50)
    assert result_of(database, one, 2) is None
    assert result_of(database, two, 2) is not None
    with database.read() as connection:
        pairs = versions.pairs(connection, (1, second.id), 0, 10)
    assert [pair.item_id for pair in pairs] == [two]


def test_a_backfill_does_not_store_a_prediction_of_data_that_changed_meanwhile(
    database: Database, job: Job, tmp_path: Path
) -> None:
    second = second_version(database, tmp_path)
    one, two = register(database, 1, 2)
    run(job)
    backfill(database, second)
    new = f"UPDATE items SET data = '[[30, 50]]' WHERE id = {two}"
    run(during_prediction(job, new))
    run(job)
    found = result_of(database, two, 2)
    assert found is not None
    assert found.prediction == '{"negated":[-30.0,-50.0]}'
    assert result_of(database, one, 2) is not None


def test_an_item_that_waits_again_shows_no_result_of_its_old_data(
    database: Database, job: Job
) -> None:
    [item_id] = register(database, 1)
    run(job)
    sql(database, f"UPDATE items SET status = 'pending', data = '[[9, 9]]' WHERE id = {item_id}")
    assert result_of(database, item_id, 1) is None


# Versions ------------------------------------------------------------------------------------


def test_versions_that_are_activated_at_the_same_moment_leave_one_active(
    database: Database, tmp_path: Path
) -> None:
    made = [
        add_model(database, models.doubling(tmp_path / f"{n}.onnx", width=n), name="a")
        for n in range(1, 5)
    ]

    def activate(version: Version) -> None:
        for _ in range(10):
            database.transaction(lambda c: versions.activate(c, "a", version.id, ACTOR))

    for thread in [in_a_thread(lambda v=version: activate(v)) for version in made]:
        thread.join()
    with database.read() as connection:
        found = versions.all_versions(connection, "a")
    assert sum(bool(row.active) for row in found) == 1


# Odd data --------------------------------------------------------------------------------------


def test_data_with_the_character_that_separates_texts_does_not_stop_its_batch(
    database: Database, job: Job
) -> None:
    good = register(database, 1)
    with database.write() as connection:
        bad = items.register(connection, NewItems(["[[1, 2]]\x1e", "\x1e\x1e", ""]))
    good += register(database, 2)
    assert run(job).items == 5
    assert [answer(database, item_id) for item_id in good] == [doubled(1), doubled(2)]
    assert [read(database, item_id).code for item_id in bad] == ["invalid_json"] * 3
