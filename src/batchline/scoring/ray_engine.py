"""Predict the parts of a run with the actors of a Ray cluster.

Cutting, order, journal and output are those of the local engine. Only the prediction of a part is
sent to an actor. This is the only module that imports Ray.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns
# Otherwise Ray prints each lost actor to standard output.
os.environ |= {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}

import ray
from ray.exceptions import RayError, RayTaskError

from batchline import __version__
from batchline.errors import ConfigurationError
from batchline.file_errors import RunStopped
from batchline.files.source import Part
from batchline.scoring.local import Done, LocalEngine
from batchline.scoring.ray_actor import ActorWork, PartPredictor
from batchline.scoring.ray_options import RayOptions

PARTS_PER_ACTOR = 2
"""Parts that an actor has at once: it predicts one, and the next one is already there."""
MAX_DEATHS = 2
"""Actors that may end during a part. Then this process predicts it, and finds the row."""
MAX_FAILED_STARTS = 8
"""Actors in a row that may end while they load the model."""
START_SECONDS = 900.0
"""Time for the first actor. A cluster may have to start a node for it."""
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.1


class RayEngine(LocalEngine):
    """A run with parts that actors predict. See `LocalEngine` for the other arguments."""

    def __init__(self, *args: Any, actors: "Actors", **more: Any) -> None:
        super().__init__(*args, threads=PARTS_PER_ACTOR * actors.most, **more)
        self._actors = actors
        self._here = ThreadPoolExecutor(1)

    def _predicted(self, number: int, part: Part) -> Iterator[Done]:
        """Predict a part on an actor, or in this process if it has ended several actors.

        Blocks are the same each time, so that a second actor continues behind those of the first.
        """
        sent = 0
        is_suspect = self._watch is not None and self._watch.case.concerns(number)
        for _ in range(0 if is_suspect else MAX_DEATHS):
            try:
                for done in islice(self._actors.predict(number, part), sent, None):
                    yield done
                    sent += 1
                return
            except ActorLost:
                if self._stop.is_set():
                    return
        yield from self._here.submit(self._predicted_here, number, part, sent).result()

    def _predicted_here(self, number: int, part: Part, sent: int) -> list[Done]:
        """Predict a part under the eyes of the supervisor. One thread does so at a time."""
        return list(islice(super()._predicted(number, part), sent, None))

    def _end_parts(self) -> None:
        super()._end_parts()
        self._actors.close()
        self._here.shutdown(wait=False)


class ActorLost(Exception):
    """An actor ended, or what it returned was lost with its node."""


@dataclass(eq=False)
class _Actor:
    handle: Any
    is_lost: bool = False


class Actors:
    """Between `least` and `most` actors. One that ends is replaced when it is needed."""

    def __init__(self, work: ActorWork, options: RayOptions) -> None:
        self._work = ray.put(work)
        self._start = ray.remote(PartPredictor).options(
            num_cpus=options.cpus, num_gpus=options.gpus, max_restarts=0, max_task_retries=0
        )
        self.most = options.most or _places(options)
        self._members: list[_Actor] = []
        self._starting: dict[Any, _Actor] = {}
        self._idle: SimpleQueue[_Actor] = SimpleQueue()
        self._lock = threading.Lock()
        self._failed_starts = 0
        self._deadline = time.monotonic() + START_SECONDS
        self._is_closed = False
        for _ in range(min(options.least, self.most)):
            self._add()

    def predict(self, number: int, part: Part) -> Iterator[Done]:
        """Predict a part on the next actor that is free.

        Raises:
            ActorLost: the actor ended. Another one can predict the part.
            FileUnreadable, SourceChanged: its node cannot read the part.
            ConfigurationError: an actor cannot load the model.
        """
        actor = self._take()
        try:
            with _own_errors():
                for block in actor.handle.predict.options(num_returns="streaming").remote(
                    number, part
                ):
                    yield ray.get(block)
        except ActorLost:
            self._lose(actor)
            raise
        finally:
            self._idle.put(actor)

    def _take(self) -> _Actor:
        while not self._is_closed:
            try:
                actor = self._idle.get_nowait()
            except Empty:
                self._grow()
                try:
                    actor = self._idle.get(timeout=POLL_SECONDS)
                except Empty:
                    continue
            if not actor.is_lost:
                return actor
        raise ActorLost

    def _grow(self) -> None:
        """Add the actors that have started, and start another if there may be more."""
        with self._lock:
            if self._is_closed:
                return
            ready, _ = ray.wait(list(self._starting), timeout=0) if self._starting else ([], [])
            for each in ready:
                self._settle(each, self._starting.pop(each))
            if len(self._members) < self.most:
                self._add()
            if time.monotonic() > self._deadline:
                raise RunStopped(
                    f"the cluster has started no actor within {START_SECONDS:g} s",
                    hint="lower --cpus-per-actor or --gpus-per-actor, or add a node",
                )

    def _settle(self, loaded: Any, actor: _Actor) -> None:
        try:
            with _own_errors():
                version = ray.get(loaded)
        except ActorLost as error:
            self._members.remove(actor)
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise RunStopped(f"no actor can load the model: {error}") from None
            return
        if version != __version__:
            raise ConfigurationError(
                f"a node of the cluster has Batchline {version}, and this is {__version__}",
                hint="install the same version on every node",
            )
        self._failed_starts, self._deadline = 0, float("inf")
        for _ in range(PARTS_PER_ACTOR):
            self._idle.put(actor)

    def _add(self) -> None:
        actor = _Actor(self._start.remote(self._work))
        self._members.append(actor)
        self._starting[actor.handle.load.remote()] = actor

    def _lose(self, actor: _Actor) -> None:
        with self._lock:
            if not actor.is_lost:
                actor.is_lost = True
                self._members.remove(actor)
                _kill(actor)

    def close(self) -> None:
        """End all actors. Results that they have not returned are lost."""
        with self._lock:
            self._is_closed = True
            for each in self._members:
                _kill(each)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster.

    Raises:
        ConfigurationError: there is none at this address.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        _check_listens(address)
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # Ray raises many kinds
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"cannot connect to the Ray cluster {address}: {reason}",
            hint="name the address of its head with --ray-address HOST:6379, or run the command "
            "in the cluster",
        ) from error
    signal.signal(signal.SIGTERM, on_stop)  # Ray has set its own
    try:
        yield
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Check that there is a server. Without one, Ray would end this process after 40 seconds."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def _places(options: RayOptions) -> int:
    """Return how many actors the nodes that there are now can hold."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    places = [found.get("CPU", 0) / options.cpus] if options.cpus else []
    if options.gpus:
        places.append(found.get("GPU", 0) / options.gpus)
    return max(1, int(min(places, default=1)))


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raise what an actor raised, and `ActorLost` if it has ended."""
    try:
        yield
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise ActorLost(str(error).partition("\n")[0]) from None


def _kill(actor: _Actor) -> None:
    with suppress(RayError, ValueError):
        ray.kill(actor.handle)
