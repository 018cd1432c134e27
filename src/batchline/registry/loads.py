"""Memory in which the processes of a job note how loading its models goes.

A model can end the process that loads it, by a crash in native code or because it needs too much
memory. Then the model is at fault, not the items that wait for it. If it happens again in the
worker process, only the suspects process loads the model, which does nothing else meanwhile. If
that ends, too, the model cannot be loaded as long as this job runs.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

TRIES = 2
"""How often a model may end the worker process before it is left to the suspects process, and how
often that."""
TRIES_AGAIN = 4
"""How often it may end the worker process if it has been loaded in the suspects process since."""


class Place(IntEnum):
    """The process that loads a model."""

    WORKER = 0
    ISOLATION = 1


class MayLoad(Enum):
    """Whether a process may load a model."""

    YES = "yes"
    IN_ISOLATION = "in isolation"
    NO = "no"


class LoadRecord:
    """The loads in progress of each process of a job, and how many processes each model has ended.

    The supervisor counts, and each process writes numbers of its own.
    """

    _SLOTS: Final = 32
    _VERSIONS: Final = 96
    _FREE: Final = 0
    _ID, _ENDED, _ENDED_ISOLATED, _CLEARED, _FIELDS = range(5)

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def begin(self, place: Place, model_id: int) -> None:
        """Take down that a process loads a model. Beyond `_SLOTS` it is not taken down."""
        with suppress(StopIteration):
            self._numbers[next(i for i in self._slots(place) if not self._numbers[i])] = model_id

    def end(self, place: Place, model_id: int) -> None:
        """Take down that the load has ended, and the process goes on."""
        for slot in self._slots(place):
            if self._numbers[slot] == model_id:
                self._numbers[slot] = self._FREE

    def has_loaded(self, place: Place, model_id: int) -> None:
        """Take down that the model has been loaded."""
        found = self._find(model_id)
        if found is None:
            return
        self._numbers[found + self._ENDED_ISOLATED] = 0
        if place is Place.WORKER:
            self._numbers[found + self._ENDED] = 0
        else:
            self._numbers[found + self._CLEARED] = self._numbers[found + self._ENDED]

    def process_ended(self, place: Place, *, has_crashed: bool) -> bool:
        """Count the models that the process was loading, if it has crashed. Return if any was."""
        loading = {self._numbers[slot] for slot in self._slots(place)} - {self._FREE}
        for slot in self._slots(place):
            self._numbers[slot] = self._FREE
        if not has_crashed:
            return False
        for model_id in loading:
            self._count(place, model_id)
        return bool(loading)

    def crashes(self, model_id: int) -> int:
        """Return how many processes have ended while they loaded the model."""
        found = self._find(model_id)
        if found is None:
            return 0
        return self._numbers[found + self._ENDED] + self._numbers[found + self._ENDED_ISOLATED]

    def may_load(self, place: Place, model_id: int) -> MayLoad:
        """Return whether a process may load the model."""
        found = self._find(model_id)
        if found is None:
            return MayLoad.YES
        _, ended, isolated, cleared = self._numbers[found : found + self._FIELDS]
        if isolated >= TRIES:
            return MayLoad.NO
        tries = TRIES_AGAIN if cleared == ended else TRIES
        if place is Place.WORKER and ended >= tries:
            return MayLoad.IN_ISOLATION
        return MayLoad.YES

    def _count(self, place: Place, model_id: int) -> None:
        found = self._find(model_id, or_free=True)
        if found is not None:
            self._numbers[found + self._ID] = model_id
            self._numbers[
                found + (self._ENDED if place is Place.WORKER else self._ENDED_ISOLATED)
            ] += 1

    def _slots(self, place: Place) -> range:
        return range(place * self._SLOTS, (place + 1) * self._SLOTS)

    def _find(self, model_id: int, *, or_free: bool = False) -> int | None:
        """Return where the numbers of a model begin, if any of them was ever taken down."""
        begin = len(Place) * self._SLOTS
        for found in range(begin, begin + self._VERSIONS * self._FIELDS, self._FIELDS):
            known = self._numbers[found + self._ID]
            if known == model_id or (or_free and known == self._FREE):
                return found
            if known == self._FREE:
                return None
        return None


@dataclass(frozen=True, slots=True)
class Loads:
    """The part of one process in the record of its job, or a process of its own without one."""

    record: LoadRecord | None = None
    place: Place = Place.WORKER

    @contextmanager
    def loading(self, model_id: int) -> Iterator[None]:
        """Take down that this process loads the model, and whether it has."""
        if self.record is None:
            yield
            return
        self.record.begin(self.place, model_id)
        try:
            yield
            self.record.has_loaded(self.place, model_id)
        finally:
            self.record.end(self.place, model_id)

    def may_load(self, model_id: int) -> MayLoad:
        """Return whether this process may load the model."""
        return MayLoad.YES if self.record is None else self.record.may_load(self.place, model_id)

    def crashes(self, model_id: int) -> int:
        """Return how many processes have ended while they loaded the model."""
        return 0 if self.record is None else self.record.crashes(model_id)
