"""How many rows of a file may have errors."""

import pytest

from batchline.scoring.summary import ErrorLimit


@pytest.mark.parametrize("percent", range(101))
def test_a_share_is_not_exceeded_by_exactly_that_many_rows(percent: int) -> None:
    limit = ErrorLimit(share=float(f"{percent}") / 100)
    assert not limit.is_exceeded(percent, 100, at_end=True)
    assert limit.is_exceeded(percent + 1, 100, at_end=True)


def test_a_share_is_compared_once_there_are_enough_rows() -> None:
    limit = ErrorLimit(share=0.055)
    assert not limit.is_exceeded(100, 999, at_end=False)
    assert limit.is_exceeded(100, 1_000, at_end=False)
    assert str(limit) == "5.5%"
