"""The circuit breaker opens in an outage and closes when the database responds."""

import threading

from batchline.db.circuit_breaker import CircuitBreaker
from tests.service import wait_for


def test_it_closes_when_the_database_responds_after_any_errors() -> None:
    errors = iter([ValueError("half a handshake"), KeyError("another"), None])
    responded = threading.Event()

    def probe() -> None:
        error = next(errors)
        if error is not None:
            raise error
        responded.set()

    breaker = CircuitBreaker(probe)
    breaker.open()
    assert breaker.is_open
    assert responded.wait(30)
    wait_for(lambda: not breaker.is_open, "the breaker to close")
