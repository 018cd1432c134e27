"""What a job counts of items that ended its processes."""

from batchline.db.cruds import items
from batchline.db.database import Database
from batchline.db.new_items import NewItems
from batchline.metrics import UNKNOWN_MODEL, own
from batchline.task import counts
from tests.jobs import add_model


def test_items_that_ended_a_process_count_for_their_model_if_it_is_known(
    database: Database,
) -> None:
    add_model(database, name="iris")
    new = NewItems(["[]", "[]", "[]"], ["iris", "iris", "nobody-has-this"])
    ids = database.transaction(lambda c: items.register(c, new))
    before = own().read()
    counts.ended_a_process(database, list(map(int, ids)), "worker_crashed")
    after = own().read()
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
    assert grown == {
        ("batchline_items_total", "iris", "failed"): 2,
        ("batchline_items_total", UNKNOWN_MODEL, "failed"): 1,
        ("batchline_failures_total", "worker_crashed"): 3,
    }
