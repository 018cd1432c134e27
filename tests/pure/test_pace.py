"""How many items a batch takes."""

from batchline.constants import BATCH_SECONDS, CLAIM_MAX_ITEMS
from batchline.task.pace import Pace


def test_quick_batches_grow_up_to_a_bound() -> None:
    pace = Pace(first=100)
    pace.record(0, 100, seconds=0.01)
    assert pace.items(0) == 200
    for _ in range(20):
        pace.record(0, pace.items(0), seconds=0.01)
    assert pace.items(0) == CLAIM_MAX_ITEMS


def test_slow_batches_shrink_to_one_item_at_least() -> None:
    pace = Pace(first=100)
    pace.record(0, 100, seconds=3 * BATCH_SECONDS)
    assert pace.items(0) == 50
    for _ in range(20):
        pace.record(0, pace.items(0), seconds=3 * BATCH_SECONDS)
    assert pace.items(0) == 1


def test_a_batch_that_found_little_says_nothing_by_being_quick() -> None:
    pace = Pace(first=100)
    pace.record(0, 3, seconds=0.01)
    assert pace.items(0) == 100


def test_a_batch_that_takes_as_long_as_it_should_changes_nothing() -> None:
    pace = Pace(first=100)
    pace.record(0, 100, seconds=BATCH_SECONDS)
    assert pace.items(0) == 100


def test_each_lane_has_a_pace_of_its_own() -> None:
    pace = Pace(first=100)
    pace.record(0, 100, seconds=0.01)
    pace.record(1, 100, seconds=3 * BATCH_SECONDS)
    assert [pace.items(lane) for lane in (0, 1, 2)] == [200, 50, 100]
