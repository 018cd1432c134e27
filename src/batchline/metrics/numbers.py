"""Named numbers in memory that processes share: one process writes them, others read them.

They outlive the process that writes them. So a process that takes the place of another one counts
on from where that one was killed.
"""

import mmap
import threading
from collections.abc import Iterator, Mapping

Key = tuple[str, ...]
"""The name of a metric and values of its labels."""
SEPARATOR = "\0"

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
        self._places: dict[str, int] = {}
        self._known = 1  # the first word that was not read yet
        self._is_full = False
        self._lock = threading.Lock()

    def add(self, text: str, more: float, text2: str = "", more2: float = 0.0) -> None:
        """Add to one number or two. One that does not exist begins with 0.

        Args:
            text: its key, joined by `SEPARATOR`. A string keeps its hash, a tuple does not.
        """
        places = self._places
        with self._lock:
            place = places.get(text) or self._place(text)
            if place:
                self._values[place] += more
            if text2:
                place = places.get(text2) or self._place(text2)
                if place:
                    self._values[place] += more2

    def read(self) -> Mapping[Key, float]:
        """Return all numbers."""
        with self._lock:
            self._learn()
            found = self._places.items()
            return {tuple(text.split(SEPARATOR)): self._values[place] for text, place in found}

    def _place(self, text: str) -> int:
        """Return the place of a number, or 0 if there is no space for another one."""
        self._learn()  # the numbers of the process before this one
        return self._places.get(text) or self._new_place(text)

    def _new_place(self, text: str) -> int:
        key = text.encode()
        start = self._known
        place = start + 1 + -(-len(key) // WORD)
        if place >= len(self._words):
            self._warn()
            return 0
        self._words[start] = len(key)
        self._bytes[(start + 1) * WORD :][: len(key)] = key
        self._values[place] = 0.0
        self._words[0] = self._known = place + 1
        self._places[text] = place
        return place

    def _learn(self) -> None:
        for text, place in self._unknown():
            self._places[text] = place
            self._known = place + 1

    def _unknown(self) -> Iterator[tuple[str, int]]:
        start, end = self._known, self._words[0]
        while start < end:
            size = self._words[start]
            key = bytes(self._bytes[(start + 1) * WORD :][:size])
            place = start + 1 + -(-size // WORD)
            yield key.decode(), place
            start = place + 1

    def _warn(self) -> None:
        if not self._is_full:
            self._is_full = True
            import structlog  # takes long, and this nearly never happens

            structlog.get_logger(__name__).warning(
                "metrics of new models are not counted", bytes=self._bytes.nbytes
            )
