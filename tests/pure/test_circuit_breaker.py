"""When an outage begins and when it is over."""

import threading

from batchline.db.circuit_breaker import CircuitBreaker
from tests.service import wait_for


def test_it_is_over_when_the_database_answers_however_strangely_it_failed_before() -> None:
    answers = iter([ValueError("half a handshake"), KeyError("another"), None])
    asked = threading.Event()

    def probe() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer
        asked.set()

    outage = CircuitBreaker(probe)
    outage.begin()
    assert outage.is_on
    assert asked.wait(30)
    wait_for(lambda: not outage.is_on, "the end of the outage")
