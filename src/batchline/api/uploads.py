"""`POST /items`: store a body of any length, group by group, while it arrives.

While one group of an upload is stored, the API reads and checks the next one. It reads no further,
so TCP makes the client wait, and only two groups are in memory. The response covers a group once
its transaction is committed. An interruption ends the upload between two groups. The lines that the
response covers are stored, and later lines are not. The one exception is a COMMIT that was not
confirmed: then the response names the lines that may have been stored.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any

import orjson
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from batchline import request_ids
from batchline.access_errors import QuotaExceeded, Unauthorized
from batchline.api.failure_log import FailureLog
from batchline.api.ndjson import Group, blocks, check_lines, id_ranges, rejection, rejections, split
from batchline.api.quotas import Owner
from batchline.api.response_buffer import ResponseBuffer
from batchline.api.signatures import Signatures
from batchline.api.store_health import StoreHealth
from batchline.constants import (
    LONG_LINES_MAX_BYTES,
    MAX_UPLOADS,
    UPLOAD_LONG_LINE_BYTES,
    UPLOAD_MAX_EXPLAINED_LINES,
    UPLOAD_PROGRESS_BYTES,
    UPLOAD_SLOW_AFTER,
    UPLOAD_TIMEOUT,
)
from batchline.db.cruds import idempotency
from batchline.db.cruds.idempotency import Registered
from batchline.db.database import Database
from batchline.errors import (
    BatchlineError,
    CommitUnknown,
    IntakeFull,
    SchemaOutdated,
    ShuttingDown,
    Unavailable,
)
from batchline.metrics import REJECTIONS
from batchline.request_errors import BodyTimeout
from batchline.request_ids import UNKNOWN, Origin

NDJSON = "application/x-ndjson"


class UploadPool:
    """Counts the uploads. One thread checks the lines of all uploads, and one stores them.

    So many uploads slow down other requests no more than one upload does. A slow upload keeps its
    place only until another upload needs it.
    """

    def __init__(
        self,
        database: Database,
        health: StoreHealth | None = None,
        failures: FailureLog | None = None,
    ) -> None:
        self._database = database
        self._health = health or StoreHealth()
        self.failures = failures or FailureLog(database.outages)
        self._uploads: dict[Upload, float] = {}  # the time of the latest progress, oldest first
        self._long_lines: dict[Upload, int] = {}  # the bytes that uploads with long lines hold
        self._checker = ThreadPoolExecutor(1, "bulk-check")
        self._storer = ThreadPoolExecutor(1, "bulk-store")

    @contextmanager
    def place(self, upload: "Upload") -> Iterator[None]:
        """Count one upload.

        Raises:
            IntakeFull: `MAX_UPLOADS` uploads are running, and none of them is slow.
        """
        if len(self._uploads) == MAX_UPLOADS:
            self._make_room(self._uploads, f"{MAX_UPLOADS} uploads are running, which is the limit")
        self.progressed(upload)
        try:
            yield
        finally:
            self._uploads.pop(upload, None)
            self._long_lines.pop(upload, None)

    def hold(self, upload: "Upload", size: int) -> None:
        """Count the lines of this upload that are in memory.

        Raises:
            IntakeFull: the long lines of all uploads are too large, and none of these is slow.
        """
        size -= UPLOAD_LONG_LINE_BYTES
        before = self._long_lines.pop(upload, 0)
        if size <= 0:
            return
        while size > before and sum(self._long_lines.values()) + size > LONG_LINES_MAX_BYTES:
            self._make_room(
                self._long_lines,
                f"the long lines of all uploads exceed {LONG_LINES_MAX_BYTES} bytes in total",
            )
        self._long_lines[upload] = size

    def progressed(self, upload: "Upload") -> None:
        """Take down that lines of this upload were stored now."""
        self._uploads.pop(upload, None)
        self._uploads[upload] = time.monotonic()

    def _make_room(self, among: Container["Upload"], why_full: str) -> None:
        """End the slowest of these uploads, if nothing of it was stored for a while."""
        candidates = (each for each in self._uploads.items() if each[0] in among)
        slowest, progressed = next(candidates, (None, time.monotonic()))
        if slowest is None or time.monotonic() - progressed < UPLOAD_SLOW_AFTER:
            raise IntakeFull(why_full, hint="send the upload again in a moment")
        del self._uploads[slowest]
        self._long_lines.pop(slowest, None)
        slowest.give_way()

    async def check(
        self, lines: Sequence[bytes], first: int, signatures: Signatures, told: int
    ) -> Group:
        """Call `check_lines` in a thread."""
        check = partial(check_lines, lines, first, signatures, told)
        return await asyncio.get_running_loop().run_in_executor(self._checker, check)

    async def store(
        self, group: Group, api_key_id: int | None, origin: Origin
    ) -> Sequence[Registered]:
        """Store a group. Return an id or an error for each of its lines.

        Raises:
            CommitUnknown: the group may have been stored.
            DatabaseUnavailable: nothing was stored.
        """
        if not group.numbers:
            return []
        store = partial(self._store, group, api_key_id, origin)
        return await asyncio.get_running_loop().run_in_executor(self._storer, store)

    def _store(self, group: Group, api_key_id: int | None, origin: Origin) -> Sequence[Registered]:
        with self._health.watching():
            return self._database.transaction(
                lambda c: idempotency.register(c, group.new_items(api_key_id, origin))
            )

    async def close(self) -> None:
        """Finish the groups in progress, then end the threads."""
        for pool in (self._checker, self._storer):
            await asyncio.to_thread(pool.shutdown)


class Upload(Response):
    """The response to one upload. It begins before the end of the body.

    Args:
        signatures: returns the active versions' signatures, which may change during an upload.
        owner: for whom the items are registered, if this is known.
        while_open: checks that an upload without an owner may go on.
        origin: the request, which all items have.
        timeout: seconds in which the client must send or read `UPLOAD_PROGRESS_BYTES`.
    """

    media_type = NDJSON

    def __init__(
        self,
        bulk: UploadPool,
        signatures: Callable[[], Awaitable[Signatures]],
        owner: Owner | None = None,
        while_open: Callable[[], Awaitable[None]] | None = None,
        origin: Origin = UNKNOWN,
        timeout: float = UPLOAD_TIMEOUT,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._bulk = bulk
        self._signatures = signatures
        self._owner = owner
        self._origin = origin
        self._check = while_open if owner is None else owner.check
        self._timeout = timeout
        self._totals = {"lines": 0, "registered": 0, "rejected": 0}  # that the response covers
        self._tried = 0  # the last line of the latest transaction
        self._gives_way = False
        self._waiting: asyncio.Timeout | None = None  # for the client to send
        self._outbox: ResponseBuffer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Register the lines.

        Raises:
            BatchlineError: an error occurred before the response began.
            ClientDisconnect: the client disconnected before the response began.
        """
        self._outbox = outbox = ResponseBuffer(send, self.raw_headers, self._timeout)
        with self._bulk.place(self):
            try:
                async with outbox:
                    await outbox.end(_json_line(await self._last_line(receive, outbox)))
            except ClientDisconnect:
                if not outbox.has_begun:
                    raise

    def give_way(self) -> None:
        """Stop waiting for the client, because another upload needs the place."""
        self._gives_way = True
        if self._waiting is not None:
            self._waiting.reschedule(0)
        if self._outbox is not None:
            self._outbox.stop_waiting()

    async def _last_line(self, receive: Receive, outbox: "ResponseBuffer") -> dict[str, Any]:
        """Register the lines, and return the last line of the response."""
        try:
            await self._unless_cancelled(self._register(receive, outbox))
        except (Unavailable, BodyTimeout, QuotaExceeded, Unauthorized) as error:
            if not outbox.has_begun:
                raise
            return self._broken_off(error)
        return {"done": True, **self._totals}

    async def _unless_cancelled(self, registering: Awaitable[None]) -> None:
        """Raise an error for the client if the server cancels its upload after SIGTERM."""
        try:
            await registering
        except asyncio.CancelledError:
            if self._tried > self._totals["lines"]:
                raise CommitUnknown("the service stopped before a COMMIT was confirmed") from None
            raise ShuttingDown("the service stopped during an upload") from None

    async def _register(self, receive: Receive, outbox: "ResponseBuffer") -> None:
        """Store the groups one by one. Meanwhile, read and check the next one."""
        groups = self._groups(receive)
        coming = asyncio.ensure_future(anext(groups, None))
        try:
            while group := await coming:
                coming = asyncio.ensure_future(anext(groups, None))
                if self._check is not None:
                    await self._check()
                await self._register_group(group, outbox)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _register_group(self, group: Group, outbox: "ResponseBuffer") -> None:
        """Store a group in one transaction, or in several if its lines exceed the quota.

        Each transaction ends before the first new line that exceeds the quota. Known lines count
        nothing, so they leave a part of the quota to the next transaction.

        Raises:
            QuotaExceeded: the owner may not register the next line today.
        """
        while True:
            self._tried = group.last
            answers, left = await self._store(group)
            kinds = list(map(type, answers))
            end = kinds.index(QuotaExceeded) if QuotaExceeded in kinds else len(kinds)
            done = group.before_item(end)
            self._tried = done.last
            if not self._gives_way:
                self._bulk.progressed(self)
            if told := b"".join(map(_json_line, self._tell(done, answers[:end]))):
                await outbox.put(told)
            if self._owner is None or end == len(answers):
                return
            if not left:
                raise self._owner.exceeded()
            group = group.from_item(end)

    async def _store(self, group: Group) -> tuple[Sequence[Registered], int]:
        """Store the lines within the quota.

        Return an id or an error for each line, and how much of the quota was taken but not needed.
        """
        owner = self._owner
        if owner is None:
            return await self._bulk.store(group, None, self._origin), 0
        taken = owner.take(len(group.numbers))
        if taken < len(group.numbers):
            group = group.refusing_from(taken, owner.exceeded())
        try:
            answers = await self._bulk.store(group, owner.key_id, self._origin)
        except BatchlineError as error:
            if not isinstance(error, CommitUnknown):
                owner.give_back(taken)
            raise
        left = taken - list(map(type, answers)).count(int)  # the others are `KnownId` or an error
        owner.give_back(left)
        return answers, left

    async def _groups(self, receive: Receive) -> AsyncIterator[Group]:
        first, told = 1, 0
        async for block in blocks(self._pieces(receive), partial(self._bulk.hold, self)):
            for lines in split(block):
                group = await self._bulk.check(lines, first, await self._signatures(), told)
                yield group
                first = group.last + 1
                told += len(group.rejected)

    async def _pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Only the time spent waiting for the client counts.

        Raises:
            BodyTimeout: the client sends too slowly, or has stopped sending.
            IntakeFull: the client sends slowly, and another upload needs the place.
            ClientDisconnect: the client disconnected.
        """
        patience, arrived, more = self._timeout, 0, True
        while more:
            began = time.monotonic()
            message = await self._within(patience, receive)
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece, more = message.get("body", b""), message.get("more_body", False)
            patience -= time.monotonic() - began
            arrived += len(piece)
            if arrived >= UPLOAD_PROGRESS_BYTES:
                patience, arrived = self._timeout, 0
            yield piece

    async def _within(self, patience: float, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(0 if self._gives_way else patience) as self._waiting:
                return await receive()
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            self._waiting = None

    def _too_slow(self) -> BatchlineError:
        if self._gives_way:
            return IntakeFull(
                f"nothing of the upload was stored for {UPLOAD_SLOW_AFTER} s, and others wait",
                hint="check the connection, then send the upload again",
            )
        return BodyTimeout(
            f"less than {UPLOAD_PROGRESS_BYTES} bytes arrived within {self._timeout:g} s",
            hint="check the connection, then send the upload again",
        )

    def _tell(self, group: Group, answers: Sequence[Registered]) -> list[dict[str, Any]]:
        """Return the response's lines for a stored group, in the order of the body's lines."""
        lines = group.numbers
        ids = [answer for answer in answers if isinstance(answer, int)]
        rejected = group.rejected
        if len(ids) < len(answers):  # keys were used with other data, or lines refused
            each = list(zip(lines, answers, strict=True))
            lines = [number for number, answer in each if isinstance(answer, int)]
            in_full = self._totals["rejected"] < UPLOAD_MAX_EXPLAINED_LINES
            reused = [
                (number, rejection(a, in_full=in_full))
                for number, a in each
                if not isinstance(a, int)
            ]
            rejected = sorted(rejected + reused, key=itemgetter(0))
        self._totals["lines"] = group.last
        self._totals["registered"] += len(ids)
        self._totals["rejected"] += len(rejected)
        for code, count in Counter(error["code"] for _, error in rejected).items():
            REJECTIONS.add(code, count=count)
        return sorted([*id_ranges(lines, ids), *rejections(rejected)], key=itemgetter("lines"))

    def _broken_off(self, error: BatchlineError) -> dict[str, Any]:
        """Return the last line of the response to an upload that was interrupted."""
        REJECTIONS.add(error.code)
        if error.status >= 500:
            self._bulk.failures.failed(
                error, "/items", self._origin.request_id or request_ids.new()
            )
        from_line = self._totals["lines"] + 1
        end: dict[str, Any] = {"done": False, **self._totals, "from_line": from_line}
        outcome = f"Nothing from line {from_line} on was stored"
        hint = f"send the lines from line {from_line} on again"
        if isinstance(error, SchemaOutdated):
            hint = f"{error.advice}, then {hint}"
        if isinstance(error, QuotaExceeded):
            hint += " on the next UTC day"
        if isinstance(error, CommitUnknown):
            hint += ", each with the same idempotency_key to avoid duplicates"
            end["maybe_stored"] = [from_line, self._tried]
            outcome = f"Lines {from_line} to {self._tried} may be stored, and none after them"
        # Only the log gets the database's message, which may name hosts and users.
        detail = f"{error.title}. {outcome}"
        return end | {"error": {"code": error.code, "detail": detail, "hint": hint}}


def _json_line(told: dict[str, Any]) -> bytes:
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
