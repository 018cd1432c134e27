"""How many items a batch takes."""

from batchline.constants import BATCH_SECONDS, CLAIM_MAX_ITEMS
from batchline.task.pace import Pace


def test_quick_batches_grow_up_to_a_bound() -> None:
    pace = Pace(first=100)
    pace.record(100, seconds=0.01)
    assert pace.items == 200
    for _ in range(20):
        pace.record(pace.items, seconds=0.01)
    assert pace.items == CLAIM_MAX_ITEMS


def test_slow_batches_shrink_to_one_item_at_least() -> None:
    pace = Pace(first=100)
    pace.record(100, seconds=3 * BATCH_SECONDS)
    assert pace.items == 50
    for _ in range(20):
        pace.record(pace.items, seconds=3 * BATCH_SECONDS)
    assert pace.items == 1


def test_a_batch_that_found_little_says_nothing_by_being_quick() -> None:
    pace = Pace(first=100)
    pace.record(3, seconds=0.01)
    assert pace.items == 100


def test_a_batch_that_takes_as_long_as_it_should_changes_nothing() -> None:
    pace = Pace(first=100)
    pace.record(100, seconds=BATCH_SECONDS)
    assert pace.items == 100
