"""The row that ends the process is found, whatever else happens, and no other one is blamed."""

import random

import pytest

from batchline.scoring.suspects import Call, Case, Death

TRAP = Death("worker_crashed", "trap", True)
KILL = Death("worker_crashed", "killed", False)


class Process:
    """Predicts calls as a worker does, and dies as its rows want."""

    def __init__(self, deadly: set[int], rows: int = 4096, limit: int | None = None) -> None:
        self.deadly, self.rows, self.limit = deadly, rows, limit
        self.case = Case()
        self.deaths = 0

    def dies_at(self, call: Call) -> bool:
        rows = set(range(call.first, call.stop))
        return bool(rows & self.deadly) or (self.limit is not None and call.rows > self.limit)

    def run_once(self, death: Death) -> bool:
        """Whether all rows were predicted."""
        size = self.case.call_rows or self.rows
        waiting = [Call(0, 0, n, min(size, self.rows - n)) for n in range(0, self.rows, size)]
        while waiting:
            call = waiting.pop(0)
            if self.case.convicted_row(call):
                if call.rows > 1:
                    half = call.rows // 2
                    waiting[:0] = [Call(0, 0, call.first, half), call.from_(call.first + half)]
                continue
            for each in [*self.case.pieces_of(call), call]:
                if self.dies_at(each):
                    self.deaths += 1
                    self.case = self.case.after([each], death)
                    return False
        return True

    def run(self, death: Death) -> None:
        while not self.run_once(death):
            assert self.deaths < 200


@pytest.mark.parametrize("death", [TRAP, KILL])
def test_exactly_the_rows_that_end_the_process_are_convicted(death: Death) -> None:
    chance = random.Random(1)
    for count in (0, 1, 2, 5):
        deadly = set(chance.sample(range(4096), count))
        process = Process(deadly)
        process.run(death)
        assert {row.first for row in process.case.convicted} == deadly
        assert process.deaths <= count * (4 if death is TRAP else 6)
        assert process.case.call_rows is None


def test_if_only_large_calls_fail_they_become_smaller_and_no_row_is_blamed() -> None:
    process = Process(set(), limit=500)
    process.run(TRAP)
    assert not process.case.convicted
    assert process.case.call_rows == 256


def test_calls_of_several_threads_become_suspect_and_none_is_convicted_yet() -> None:
    calls = [Call(0, 0, 5, 1), Call(1, 0, 7, 1)]
    case = Case().after(calls, TRAP)
    assert set(case.suspects) == set(calls)
    assert not case.convicted
    case = case.after([calls[1]], TRAP)
    assert list(case.convicted) == [calls[1]]
    assert case.suspects == (calls[0],)


def test_a_kill_by_hand_costs_a_few_calls_and_blames_nobody() -> None:
    call = Call(3, 0, 0, 4096)
    case = Case().after([call], KILL)
    pieces = list(case.pieces_of(call))
    assert len(pieces) == 16
    assert sum(each.rows for each in pieces) == 4096
    for piece in pieces[:3]:
        case = case.after([piece], KILL)
    assert not case.convicted
    assert case.call_rows is None
    assert list(case.pieces_of(Call(3, 1, 0, 4096))) == []
    assert case.without_parts_before(4).suspects == ()
