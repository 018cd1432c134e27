"""When the next run is due."""

from batchline.task.schedule import seconds_until_next


def test_runs_start_at_even_distances() -> None:
    assert seconds_until_next(started=100, now=103, wait_time=60) == 57


def test_a_run_that_took_too_long_is_followed_at_once() -> None:
    assert seconds_until_next(started=100, now=175, wait_time=60) == 0
