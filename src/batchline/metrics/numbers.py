"""Named numbers in memory that processes share: one process writes them, others read them.

They outlive the process that writes them. So a process that takes the place of another one counts
on from where that one was killed.
"""

import mmap
import threading
from collections.abc import Iterator, Mapping

Key = tuple[str, ...]

BYTES = 1024 * 1024
"""Enough for the numbers of 2,000 models. Memory that is not used takes no space."""
WORD = 8


class Numbers:
    """Each number has a key. Its place, once it has one, stays the same.

    The memory begins with the place of the first free word. Then each number has the size of its
    key, the key and the value. A number is written completely before it counts, so a process may be
    killed at any moment.
    """

    def __init__(self, size: int = BYTES) -> None:
        memory = mmap.mmap(-1, size)
        self._bytes = memoryview(memory)
        self._words = self._bytes.cast("q")
        self._values = self._bytes.cast("d")
        self._places: dict[Key, int] = {}
        self._known = 1  # the first word that was not read yet
        self._is_full = False
        self._lock = threading.Lock()

    def add(self, *changes: tuple[Key, float]) -> None:
        """Add to numbers. Those that do not exist begin with 0."""
        values, places = self._values, self._places
        with self._lock:
            for key, more in changes:
                place = places.get(key) or self._place(key)
                if place is not None:
                    values[place] += more

    def read(self) -> Mapping[Key, float]:
        """Return all numbers."""
        with self._lock:
            self._learn()
            return {key: self._values[place] for key, place in self._places.items()}

    def _place(self, key: Key) -> int | None:
        self._learn()  # what the process before this one has written
        return self._places.get(key) or self._new_place(key)

    def _new_place(self, key: Key) -> int | None:
        text = "\0".join(key).encode()
        start = self._known
        place = start + 1 + -(-len(text) // WORD)
        if place >= len(self._words):
            self._warn()
            return None
        self._words[start] = len(text)
        self._bytes[(start + 1) * WORD :][: len(text)] = text
        self._values[place] = 0.0
        self._words[0] = self._known = place + 1
        self._places[key] = place
        return place

    def _learn(self) -> None:
        for key, place in self._unknown():
            self._places[key] = place
            self._known = place + 1

    def _unknown(self) -> Iterator[tuple[Key, int]]:
        start, end = self._known, self._words[0]
        while start < end:
            size = self._words[start]
            text = bytes(self._bytes[(start + 1) * WORD :][:size])
            place = start + 1 + -(-size // WORD)
            yield tuple(text.decode().split("\0")), place
            start = place + 1

    def _warn(self) -> None:
        if not self._is_full:
            self._is_full = True
            import structlog  # takes long, and this nearly never happens

            structlog.get_logger(__name__).warning(
                "metrics of new models are not counted", bytes=self._bytes.nbytes
            )
