"""The journal of a run beside its output: what it is, and which parts are finished.

A line of JSON is added about twice a second. It is valid once it has its line break. By then the
rows it tells of are safe, so that a run that was killed continues behind them.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from batchline.file_errors import InvalidColumns, NotWritten, RunChanged, TooManyErrors
from batchline.files.outputs import WORK_FOLDER, Mark, Work, not_written, sync_folder

NAME = "journal.jsonl"
SAVE_SECONDS = 0.5
SAVE_SHARE = 0.05
"""Part of the time that may be spent on saving. A slow disk is not made slower."""


class PartLike(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def first_row(self) -> int: ...
    def digest(self) -> str: ...


P = TypeVar("P", bound=PartLike)


@dataclass(frozen=True, slots=True)
class Saved:
    """How far a run was.

    Args:
        parts: how many are finished.
        summary: as `Summary.state` returns it.
    """

    parts: int = 0
    mark: Mark = field(default_factory=Mark)
    summary: Mapping[str, Any] | None = None


def abandoned(folder: Path) -> Saved | None:
    """Return how far a run was that no process makes now, or None if there is none."""
    try:
        with (folder / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return _last(file)[0]
    except OSError:
        return None


def remove(folder: Path) -> None:
    """Remove a work folder."""
    with suppress(OSError):
        shutil.rmtree(folder)


@contextmanager
def opened(
    folder: Path | None, facts: Mapping[str, str], *, resume: bool
) -> "Iterator[Journal | None]":
    """Open the journal of a run that has a work folder.

    At the end it is removed, unless the run can be continued.
    """
    if folder is None:
        yield None
        return
    journal = Journal(folder, facts, resume=resume)
    try:
        yield journal
    except (TooManyErrors, InvalidColumns):
        remove(folder)
        raise
    except BaseException:
        if not journal.saved.parts:
            remove(folder)
        raise
    else:
        remove(folder)
    finally:
        journal.close()


class Journal:
    """The journal of the run that this process makes. No other process can open it meanwhile.

    Args:
        facts: what must be the same if the run is to be continued: name → value.
        resume: whether to continue a run, if there is one.

    Raises:
        NotWritten: another process makes this run, or the folder cannot be written.
        RunChanged: other facts hold now.
    """

    def __init__(self, folder: Path, facts: Mapping[str, str], *, resume: bool) -> None:
        self._folder = folder
        self._finished: list[tuple[int, str]] = []
        try:
            folder.mkdir(parents=folder.name == WORK_FOLDER, exist_ok=True)
            self._file = self._locked()
            self.saved, size = _last(self._file) if resume else (Saved(), 0)
            if size:
                self._check(facts)
            self._file.truncate(size)
            self._file.seek(size)
            if not size:
                self._add({"facts": dict(facts)})
                sync_folder(folder)
        except OSError as error:
            raise not_written(str(folder), error) from error
        self._next = time.monotonic() + SAVE_SECONDS

    def _locked(self) -> BinaryIO:
        descriptor = os.open(self._folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        file = cast(BinaryIO, os.fdopen(descriptor, "r+b"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise NotWritten(
                f"another run writes this output now: {self._folder} is in use",
                hint="wait until it ends, or give another output",
            ) from None
        return file

    def _check(self, facts: Mapping[str, str]) -> None:
        self._file.seek(0)
        before = json.loads(self._file.readline())["facts"]
        names = [name for name in {**before, **facts} if before.get(name) != facts.get(name)]
        if names:
            was = "\n".join(
                f"{name}: it was {_short(before.get(name))}, and is {_short(facts.get(name))}"
                for name in names
            )
            raise _changed(was)

    @property
    def work(self) -> Work:
        return Work(self._folder, self.saved.mark)

    def unfinished(self, parts: Iterator[P]) -> Iterator[tuple[int, P]]:
        """Return the parts that are not finished, with their numbers.

        Raises:
            RunChanged: a part that is finished has other bytes now, or is missing.
        """
        number = 0
        for rows, digest in self._lines():
            part = next(parts, None)
            if part is None or (part.rows, part.digest()) != (rows, digest):
                where = "" if part is None else f": {part.path}, row {part.first_row} and after it"
                raise _changed(f"the input{where}")
            number += 1
        yield from enumerate(parts, number)

    def _lines(self) -> Iterator[tuple[int, str]]:
        with (self._folder / NAME).open("rb") as file:
            file.readline()
            left = self.saved.parts
            while left > 0:
                found = json.loads(file.readline())["parts"]
                yield from found
                left -= len(found)

    def finish(
        self,
        rows: int,
        digest: str,
        mark: Callable[[], Mark | None],
        summary: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Add a part whose rows were written, and save if it is time.

        Args:
            mark: makes the rows safe, and returns None if they cannot be kept up to here.
            summary: returns the summary of all parts so far.

        Raises:
            NotWritten: the disk is full, for example.
        """
        self._finished.append((rows, digest))
        began = time.monotonic()
        if began >= self._next and (found := mark()):
            self._save(found, summary())
            now = time.monotonic()
            self._next = now + max(SAVE_SECONDS, (now - began) / SAVE_SHARE)

    def _save(self, mark: Mark, summary: Mapping[str, Any]) -> None:
        self.saved = Saved(self.saved.parts + len(self._finished), mark, summary)
        line = {"parts": self._finished, "mark": asdict(mark), "summary": summary}
        try:
            self._add(line)
        except OSError as error:
            raise not_written(str(self._folder), error) from error
        self._finished = []

    def _add(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()


def _last(file: BinaryIO) -> tuple[Saved, int]:
    """Return how far the run was, and the size of the lines that are valid."""
    saved, size, parts = Saved(), 0, 0
    for line in file:
        try:
            found = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            found = None
        if found is None:
            break
        size += len(line)
        if "parts" in found:
            parts += len(found["parts"])
            saved = Saved(parts, Mark(**found["mark"]), found["summary"])
    return saved, size


def _changed(what: str) -> RunChanged:
    return RunChanged(
        f"the run cannot be continued, since this changed:\n{what}",
        hint="go back to what it was to continue, or leave --resume out to start over",
    )


def _short(text: str | None) -> str:
    return "not set" if text is None else text if len(text) <= 200 else f"{text[:200]}…"
