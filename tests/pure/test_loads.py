"""What the processes of a job know of models that end the process which loads them."""

import pytest

from batchline.registry.loads import LoadRecord, Loads, MayLoad, Place

WORKER, ISOLATION = Place.WORKER, Place.ISOLATION
MODEL, OTHER = 7, 8


@pytest.fixture
def record() -> LoadRecord:
    return LoadRecord()


def crash(record: LoadRecord, place: Place, *models: int) -> bool:
    """A process ends while it loads these models."""
    for model in models:
        record.begin(place, model)
    return record.process_ended(place, has_crashed=True)


def load(record: LoadRecord, place: Place, model: int = MODEL) -> None:
    with Loads(record, place).loading(model):
        pass


def allowed(record: LoadRecord, model: int = MODEL) -> tuple[MayLoad, MayLoad]:
    return record.may_load(WORKER, model), record.may_load(ISOLATION, model)


def test_the_worker_process_tries_twice_and_then_the_suspects_process_does(
    record: LoadRecord,
) -> None:
    for expected in (MayLoad.YES, MayLoad.IN_ISOLATION, MayLoad.IN_ISOLATION):
        assert crash(record, WORKER, MODEL)
        assert allowed(record) == (expected, MayLoad.YES)


def test_nobody_loads_it_after_two_crashes_in_isolation(record: LoadRecord) -> None:
    crash(record, WORKER, MODEL)
    crash(record, ISOLATION, MODEL)
    assert allowed(record) == (MayLoad.YES, MayLoad.YES)
    crash(record, ISOLATION, MODEL)
    assert allowed(record) == (MayLoad.NO, MayLoad.NO)
    assert record.crashes(MODEL) == 3


def test_a_load_in_the_worker_process_forgets_the_crashes(record: LoadRecord) -> None:
    crash(record, WORKER, MODEL)
    load(record, WORKER)
    assert record.crashes(MODEL) == 0
    crash(record, WORKER, MODEL)
    assert allowed(record) == (MayLoad.YES, MayLoad.YES)


def test_a_load_in_isolation_gives_the_worker_process_one_more_try_twice(
    record: LoadRecord,
) -> None:
    crash(record, WORKER, MODEL)
    for _ in range(2):
        crash(record, WORKER, MODEL)
        assert record.may_load(WORKER, MODEL) is MayLoad.IN_ISOLATION
        load(record, ISOLATION)
        assert record.may_load(WORKER, MODEL) is MayLoad.YES
    crash(record, WORKER, MODEL)
    load(record, ISOLATION)
    assert allowed(record) == (MayLoad.IN_ISOLATION, MayLoad.YES)


def test_only_crashes_during_a_load_count(record: LoadRecord) -> None:
    load(record, WORKER)
    assert not record.process_ended(WORKER, has_crashed=True)
    record.begin(WORKER, MODEL)
    assert not record.process_ended(WORKER, has_crashed=False)
    assert not record.process_ended(WORKER, has_crashed=True)
    record.begin(WORKER, MODEL)
    assert not record.process_ended(ISOLATION, has_crashed=True)
    assert record.crashes(MODEL) == 0


def test_a_load_that_fails_is_no_crash(record: LoadRecord) -> None:
    with pytest.raises(ValueError, match="broken"), Loads(record, WORKER).loading(MODEL):
        raise ValueError("broken")
    assert not record.process_ended(WORKER, has_crashed=True)


def test_a_model_that_was_loaded_meanwhile_is_soon_free_again(record: LoadRecord) -> None:
    for _ in range(2):
        crash(record, WORKER, MODEL, OTHER)
    load(record, ISOLATION, OTHER)
    assert allowed(record, OTHER) == (MayLoad.YES, MayLoad.YES)
    assert allowed(record) == (MayLoad.IN_ISOLATION, MayLoad.YES)


def test_more_models_than_there_is_room_for_are_loaded_as_ever(record: LoadRecord) -> None:
    many = range(1, 1_001)
    for _ in range(3):
        for model in many:
            crash(record, WORKER, model)
    assert record.may_load(WORKER, 1) is MayLoad.IN_ISOLATION
    assert allowed(record, 1_000) == (MayLoad.YES, MayLoad.YES)
    crash(record, WORKER, *many)


def test_a_process_without_a_record_may_load_anything() -> None:
    with Loads().loading(MODEL):
        assert Loads().may_load(MODEL) is MayLoad.YES
        assert Loads().crashes(MODEL) == 0
