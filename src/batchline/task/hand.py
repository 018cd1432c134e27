"""The claims that this process holds: claim items, renew claims, release claims."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from batchline.constants import CLAIM_LEASE
from batchline.db import claims
from batchline.db.claims import Claim, Suspects
from batchline.db.cruds import job_processes
from batchline.db.cruds.pending import ModelItems
from batchline.db.database import Database
from batchline.db.lanes import LaneProgress
from batchline.errors import CommitUnknown, Failure, Unavailable
from batchline.metrics import CLAIM_SECONDS

T = TypeVar("T")


@dataclass(frozen=True)
class Hand:
    """The claims of one job process. Its worker threads call it concurrently.

    Args:
        owner: the name of this process. Each claim gets a name of its own that begins with it.
    """

    database: Database
    owner: str
    active: set[Claim] = field(default_factory=set)
    unreleased: set[str] = field(default_factory=set)
    _by_thread: dict[int, Claim] = field(default_factory=dict)
    _isolated: dict[int, ModelItems] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def claim_pending(
        self, max_items: Callable[[int], int], known: Mapping[int, LaneProgress] | None = None
    ) -> Claim | None:
        """Claim the next free pending items. Return None without any.

        Args:
            max_items: the size of a claim, by lane.
            known: how far the run is with lanes.
        """
        return self._claim(
            lambda connection, owner: claims.claim_pending(
                connection,
                owner=owner,
                max_items=max_items,
                known=known or {},
                lease=CLAIM_LEASE,
            )
        )

    def claim_backfill(self, max_items: int) -> Claim | None:
        """Claim the next items of a backfill. Return None without any."""
        return self._claim(
            lambda connection, owner: claims.claim_backfill(
                connection, owner=owner, max_items=max_items, lease=CLAIM_LEASE
            )
        )

    def claim_suspect(self) -> Suspects:
        """Claim suspect items.

        The caller must hold no other claim. If this process dies too, only these items are suspect.
        """
        return self._claim(
            lambda connection, owner: claims.claim_suspect(
                connection, owner=owner, lease=CLAIM_LEASE
            )
        )

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Renew the claim while a batch works on it, and release it if the batch fails."""
        self.active.add(claim)
        self._by_thread[threading.get_ident()] = claim
        try:
            yield
        except BaseException:
            self.release(claim)
            raise
        finally:
            self.active.discard(claim)
            del self._by_thread[threading.get_ident()]

    @contextmanager
    def isolating(self, item: ModelItems) -> Iterator[None]:
        """Note that this thread predicts only this one item of the claim that it holds."""
        self._isolated[threading.get_ident()] = item
        try:
            yield
        finally:
            del self._isolated[threading.get_ident()]

    def renew(self) -> None:
        """Extend the active claims, except those that another job has taken."""
        claim_ids = [claim.id for claim in list(self.active)]
        if claim_ids:
            self.database.transaction(lambda c: claims.renew(c, claim_ids, CLAIM_LEASE))

    def release(self, claim: Claim) -> None:
        """Let any job claim these items again.

        If the database is unavailable, the next `_claim` tries again, or the claim expires.
        """
        self.unreleased.add(claim.owner)
        with suppress(Unavailable):
            self._release_remaining()

    def release_all(self) -> None:
        """Release the active claims. Their batches raise `ClaimLost` when they try to store."""
        self.unreleased.update(claim.owner for claim in list(self.active))
        self._release_remaining()

    def give_up(self, threads: Set[int], failure: Failure | None) -> list[int]:
        """End all claims, because these threads do not return and the process ends.

        An item that such a thread predicts in isolation fails unless a client has changed it since,
        or is put off without a failure. The other items of its claim are suspects. The claims of
        the other threads are released. Return the items that failed.
        """
        held, isolated = dict(self._by_thread), dict(self._isolated)

        def give_up_each(connection: Any) -> list[int]:
            failed: list[int] = []
            for thread, claim in held.items():
                if thread in threads and thread not in isolated:
                    claims.expire(connection, claim.owner)
                    continue
                if thread in threads:
                    tried = isolated[thread]
                    [item_id] = tried.texts
                    if failure is None:
                        claims.put_off_of(connection, claim, item_id)
                        continue
                    if claims.fail(connection, item_id, failure, claim.scope, tried):
                        failed.append(item_id)
                claims.release(connection, claim.owner)
            return failed

        return self.database.transaction(give_up_each)

    def succeed(self, predecessor: str, *, is_blameless: bool) -> None:
        """Take the place of a process that has ended: its items are suspects, or free again.

        Args:
            predecessor: its name.
            is_blameless: whether it has ended for another reason than its items.
        """
        leave = claims.release if is_blameless else claims.expire

        def end(connection: Any) -> None:
            leave(connection, f"{predecessor}-", is_prefix=True)
            job_processes.end(connection, predecessor)

        self.database.transaction(end)

    def has_suspects(self) -> bool:
        """Return whether there are suspect items that no process predicts."""
        with self.database.read() as connection:
            return claims.has_suspects(connection)

    def _claim(self, take: Callable[[Any, str], T]) -> T:
        """Claim items under a unique owner name.

        If the COMMIT is not confirmed, the claim may exist. Its owner name is enough to release it.
        """
        self._release_remaining()
        began = time.perf_counter()
        owner = f"{self.owner}-{next(self._numbers)}"
        try:
            taken = self.database.transaction(lambda connection: take(connection, owner))
        except CommitUnknown:
            self.unreleased.add(owner)
            raise
        CLAIM_SECONDS.observe(time.perf_counter() - began)
        return taken

    def _release_remaining(self) -> None:
        for owner in list(self.unreleased):
            self.database.transaction(lambda connection: claims.release(connection, owner))  # noqa: B023, called at once
            self.unreleased.discard(owner)
