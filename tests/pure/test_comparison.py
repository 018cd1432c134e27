"""How far two versions' predictions are apart."""

import pytest

from batchline.ml.comparison import Comparison


@pytest.mark.parametrize(
    ("one", "other", "changed", "largest"),
    [
        ('{"a":0.6,"b":0.4}', '{"a":0.5,"b":0.5}', 0, 0.1),
        ('{"a":0.6,"b":0.4}', '{"a":0.3,"b":0.7}', 1, 0.3),
        ('[{"a":0.6,"b":0.4},{"a":0.6,"b":0.4}]', '[{"a":0.6,"b":0.4},{"a":0.1,"b":0.9}]', 1, 0.5),
        ('{"y":[1.0,2.0]}', '{"y":[1.0,5.0]}', 0, 3.0),
        ('{"y":"cat"}', '{"y":"dog"}', 1, 0.0),
        ('{"y":1.0}', '{"z":1.0}', 1, 0.0),
        ('{"y":null}', '{"y":1.0}', 1, 0.0),
    ],
)
def test_labels_texts_and_numbers_are_compared(
    one: str, other: str, changed: int, largest: float
) -> None:
    found = Comparison()
    found.add(1, one, other)
    assert (found.items, found.changed) == (1, changed)
    assert found.largest == pytest.approx(largest)


def test_the_most_changed_items_are_kept() -> None:
    found = Comparison()
    for item_id in range(100):
        found.add(item_id, '{"y":0.0}', f'{{"y":{item_id}.0}}')
    assert sorted(item_id for _, item_id in found.most_changed) == [95, 96, 97, 98, 99]
    assert found.mean == pytest.approx(49.5)


def test_the_models_own_labels_decide_whether_an_item_changed() -> None:
    found = Comparison()
    found.add(1, '{"a":0.6,"b":0.4}', '{"a":0.3,"b":0.7}', other_label=False)
    assert found.changed == 0
    found.add(2, '{"a":0.6,"b":0.4}', '{"a":0.6,"b":0.4}', other_label=True)
    assert found.changed == 1
