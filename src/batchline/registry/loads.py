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
        numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self._loading = [numbers[place * self._SLOTS :][: self._SLOTS] for place in Place]
        numbers = numbers[len(Place) * self._SLOTS :]
        size = self._FIELDS
        self._versions = [numbers[n * size :][:size] for n in range(self._VERSIONS)]

    def begin(self, place: Place, model_id: int) -> None:
        """Take down that a process loads a model. Beyond `_SLOTS` it is not taken down."""
        slots = self._loading[place]
        with suppress(StopIteration):
            slots[next(slot for slot, known in enumerate(slots) if known == self._FREE)] = model_id

    def end(self, place: Place, model_id: int) -> None:
        """Take down that the load has ended, and the process goes on."""
        slots = self._loading[place]
        for slot, known in enumerate(slots):
            if known == model_id:
                slots[slot] = self._FREE

    def has_loaded(self, place: Place, model_id: int) -> None:
        """Take down that the model has been loaded."""
        found = self._find(model_id)
        if found is None:
            return
        found[self._ENDED_ISOLATED] = 0
        if place is Place.WORKER:
            found[self._ENDED] = 0
        else:
            found[self._CLEARED] = found[self._ENDED]

    def process_ended(self, place: Place, *, has_crashed: bool) -> bool:
        """Count the models that the process was loading, if it has crashed. Return if any was."""
        loading = set(self._loading[place]) - {self._FREE}
        for model_id in loading:
            self.end(place, model_id)
            if has_crashed:
                self._count(place, model_id)
        return has_crashed and bool(loading)

    def crashes(self, model_id: int) -> int:
        """Return how many processes have ended while they loaded the model."""
        found = self._find(model_id)
        return 0 if found is None else found[self._ENDED] + found[self._ENDED_ISOLATED]

    def may_load(self, place: Place, model_id: int) -> MayLoad:
        """Return whether a process may load the model."""
        found = self._find(model_id)
        if found is None:
            return MayLoad.YES
        _, ended, isolated, cleared = found
        if isolated >= TRIES:
            return MayLoad.NO
        tries = TRIES_AGAIN if cleared == ended else TRIES
        if place is Place.WORKER and ended >= tries:
            return MayLoad.IN_ISOLATION
        return MayLoad.YES

    def _count(self, place: Place, model_id: int) -> None:
        found = self._find(model_id) or self._find(self._FREE)
        if found is not None:
            found[self._ID] = model_id
            found[self._ENDED if place is Place.WORKER else self._ENDED_ISOLATED] += 1

    def _find(self, model_id: int) -> memoryview | None:
        """Return the numbers of a model, if any of them was ever taken down."""
        return next((each for each in self._versions if each[self._ID] == model_id), None)


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
