"""How many requests a key may send, second by second."""

import pytest

from batchline.api.rates import Rates, policy


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def sent(rates: Rates, rate: float, key_id: int = 1) -> int:
    """How many requests are admitted at this moment."""
    count = 0
    while not rates.take(key_id, rate):
        count += 1
    return count


@pytest.mark.parametrize(
    ("rate", "at_once", "after"), [(5.0, 5, 2.0), (0.5, 1, 2.0), (2.5, 2, 4.0)]
)
def test_a_key_may_send_the_requests_of_a_second_at_once(
    rate: float, at_once: int, after: float
) -> None:
    clock = Clock()
    rates = Rates(clock)
    assert sent(rates, rate) == at_once
    for _ in range(3):
        clock.now += after
        assert sent(rates, rate) == at_once  # however long it has waited


def test_the_rate_holds_over_time_and_for_each_key() -> None:
    clock = Clock()
    rates = Rates(clock)
    sent(rates, 10.0, 1)
    total = 0
    for _ in range(1_000):
        clock.now += 0.01
        total += sent(rates, 10.0, 1)
    assert 99 <= total <= 100
    assert sent(rates, 10.0, 2) == 10


def test_a_client_that_waits_as_long_as_it_is_told_gets_in() -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(20):
        wait = rates.take(1, 0.3)
        clock.now += wait
        assert wait == 0 or rates.take(1, 0.3) == pytest.approx(0, abs=1e-9)


def test_what_is_left_is_told_in_whole_requests_and_seconds() -> None:
    clock = Clock()
    rates = Rates(clock)
    assert rates.left(1, 3.0) == (3, 0)
    rates.take(1, 3.0)
    assert rates.left(1, 3.0) == (2, 1)
    assert policy(10.0) == (10, 1)
    assert policy(2.5) == (5, 2)
    assert policy(0.1) == (1, 10)
    assert policy(1e-9) == (1, 1)
