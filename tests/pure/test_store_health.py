"""What the process remembers of transactions that stored nothing."""

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from batchline.api.store_health import StoreHealth
from batchline.constants import REJECTION_MEMORY
from batchline.errors import Conflict, DatabaseUnavailable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(health: StoreHealth, said: str) -> None:
    cause = OperationalError("INSERT", {}, sqlite3.OperationalError(said))
    with pytest.raises(DatabaseUnavailable), health.watching():
        raise DatabaseUnavailable(said) from cause


def test_a_rejected_transaction_is_remembered_until_one_is_stored() -> None:
    health = StoreHealth()
    health.check()
    fail(health, "attempt to write a readonly database")
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        health.check()
    with health.watching():
        pass
    health.check()


def test_it_is_forgotten_after_a_while_because_nobody_may_ask_again() -> None:
    clock = Clock()
    health = StoreHealth(clock)
    fail(health, "database or disk is full")
    clock.now += REJECTION_MEMORY
    health.check()


def test_a_wait_for_others_and_an_error_of_the_request_are_not_remembered() -> None:
    health = StoreHealth()
    fail(health, "database is locked")
    with pytest.raises(Conflict), health.watching():
        raise Conflict("such a key is there")
    health.check()
