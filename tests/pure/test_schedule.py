"""When the next run is due."""

from batchline.task.schedule import seconds_after_outage, seconds_until_next


def test_runs_start_at_even_distances() -> None:
    assert seconds_until_next(started=100, now=103, wait_time=60) == 57


def test_a_run_that_took_too_long_is_followed_at_once() -> None:
    assert seconds_until_next(started=100, now=175, wait_time=60) == 0


def test_pauses_in_an_outage_double_up_to_a_bound() -> None:
    assert [seconds_after_outage(n, jitter=1) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert seconds_after_outage(10_000, jitter=1) == 30


def test_half_of_a_pause_is_jitter() -> None:
    assert seconds_after_outage(2, jitter=0) == 1
