"""`POST /items`: a body of any length, stored group by group while it arrives.

Of each upload there is one group being stored and one being read and checked. Only that much of the
body is in memory: while it is, no more is read, and TCP makes the client wait. A group is answered
once its transaction is committed. Whatever ends an upload early (the client, the database, the
process) ends it between two groups: what was answered is stored, and of the rest nothing is, unless
the answer says that it cannot tell.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import Any

import orjson
import structlog
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from batchline.api.ndjson import Group, blocks, check_lines, id_ranges, rejection, rejections, split
from batchline.api.response_buffer import ResponseBuffer
from batchline.api.signatures import Signatures
from batchline.constants import (
    BULK_PROGRESS_BYTES,
    BULK_TIMEOUT,
    BULK_UPLOADS,
)
from batchline.db.cruds import idempotency
from batchline.db.cruds.idempotency import Registered
from batchline.db.database import Database
from batchline.errors import (
    BatchlineError,
    BodyTimeout,
    CommitUnknown,
    IntakeFull,
    ShuttingDown,
    Unavailable,
)

NDJSON = "application/x-ndjson"


log = structlog.get_logger(__name__)


class UploadPool:
    """What all uploads share: who may begin, a thread that checks, and one that stores.

    One each, so that many uploads take no more from the other requests than one, and take turns.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uploads = 0
        self._checker = ThreadPoolExecutor(1, "bulk-check")
        self._storer = ThreadPoolExecutor(1, "bulk-store")

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count one upload.

        Raises:
            IntakeFull: there are as many as there may be.
        """
        if self._uploads == BULK_UPLOADS:
            raise IntakeFull(
                f"{BULK_UPLOADS} uploads are being stored", hint="send it again in a moment"
            )
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def check(
        self, lines: Sequence[bytes], first: int, signatures: Signatures, told: int
    ) -> Group:
        """`check_lines` in a thread."""
        check = partial(check_lines, lines, first, signatures, told)
        return await asyncio.get_running_loop().run_in_executor(self._checker, check)

    async def store(self, group: Group) -> Sequence[Registered]:
        """The ids of the group's lines, or their refusals, once they are committed.

        Raises:
            CommitUnknown: it may be stored, now or later.
            DatabaseUnavailable: nothing was stored.
        """
        if not group.data:
            return []
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._storer,
            self._database.transaction,
            lambda c: idempotency.register(c, group.data, group.models, group.keys),
        )

    async def close(self) -> None:
        """Store what is in hand, and end the threads."""
        for pool in (self._checker, self._storer):
            await asyncio.to_thread(pool.shutdown)


class Upload(Response):
    """The answer to one body; it begins before the body has ended.

    Args:
        signatures: gives the active ones; they may change while a long body arrives.
        timeout: seconds in which the client has to send or to read `BULK_PROGRESS_BYTES`.
    """

    media_type = NDJSON

    def __init__(
        self,
        bulk: UploadPool,
        signatures: Callable[[], Awaitable[Signatures]],
        timeout: float = BULK_TIMEOUT,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._bulk = bulk
        self._signatures = signatures
        self._timeout = timeout
        self._totals = {"lines": 0, "registered": 0, "rejected": 0}  # of what was answered
        self._tried = 0  # the last line that a transaction has had

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Register the lines.

        Raises:
            BatchlineError: before the first group was stored, and so before the answer began.
            ClientDisconnect: the same.
        """
        outbox = ResponseBuffer(send, self.raw_headers, self._timeout)
        with self._bulk.upload():
            try:
                async with outbox:
                    await outbox.end(_json_line(await self._last_line(receive, outbox)))
            except ClientDisconnect:
                if not outbox.has_begun:
                    raise

    async def _last_line(self, receive: Receive, outbox: "ResponseBuffer") -> dict[str, Any]:
        """Register the lines; how it ended."""
        try:
            await self._unless_cancelled(self._register(receive, outbox))
        except (Unavailable, BodyTimeout) as error:
            if not outbox.has_begun:
                raise
            return self._broken_off(error)
        return {"done": True, **self._totals}

    async def _unless_cancelled(self, registering: Awaitable[None]) -> None:
        """The server cancels what has not ended some seconds after SIGTERM; its client is told."""
        try:
            await registering
        except asyncio.CancelledError:
            if self._tried > self._totals["lines"]:
                raise CommitUnknown("stopped before a COMMIT was confirmed") from None
            raise ShuttingDown("stopped in the middle of an upload") from None

    async def _register(self, receive: Receive, outbox: "ResponseBuffer") -> None:
        """Store and answer group after group; the next is read and checked meanwhile."""
        groups = self._groups(receive)
        coming = asyncio.ensure_future(anext(groups, None))
        try:
            while group := await coming:
                coming = asyncio.ensure_future(anext(groups, None))
                self._tried = group.last
                answers = await self._bulk.store(group)
                if told := b"".join(map(_json_line, self._tell(group, answers))):
                    await outbox.put(told)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _groups(self, receive: Receive) -> AsyncIterator[Group]:
        first, told = 1, 0
        async for block in blocks(self._pieces(receive)):
            for lines in split(block):
                group = await self._bulk.check(lines, first, await self._signatures(), told)
                yield group
                first = group.last + 1
                told += len(group.rejected)

    async def _pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        """The body as it arrives; what counts is the time for which the client is waited for.

        Raises:
            BodyTimeout: it sends too slowly, or no more.
            ClientDisconnect: it has hung up.
        """
        patience, arrived, more = self._timeout, 0, True
        while more:
            began = time.monotonic()
            try:
                async with asyncio.timeout(patience):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeout(
                    f"less than {BULK_PROGRESS_BYTES} bytes have arrived in {self._timeout} seconds"
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece, more = message.get("body", b""), message.get("more_body", False)
            patience -= time.monotonic() - began
            arrived += len(piece)
            if arrived >= BULK_PROGRESS_BYTES:
                patience, arrived = self._timeout, 0
            yield piece

    def _tell(self, group: Group, answers: Sequence[Registered]) -> list[dict[str, Any]]:
        """The answer's lines for a group that is stored, in the order of the body's lines."""
        lines = group.numbers
        ids = [answer for answer in answers if isinstance(answer, int)]
        rejected = group.rejected
        if len(ids) < len(answers):  # keys that came before with other data
            each = list(zip(lines, answers, strict=True))
            lines = [number for number, answer in each if isinstance(answer, int)]
            reused = [(number, rejection(a)) for number, a in each if not isinstance(a, int)]
            rejected = sorted(rejected + reused, key=itemgetter(0))
        self._totals["lines"] = group.last
        self._totals["registered"] += len(ids)
        self._totals["rejected"] += len(rejected)
        return sorted([*id_ranges(lines, ids), *rejections(rejected)], key=itemgetter("lines"))

    def _broken_off(self, error: BatchlineError) -> dict[str, Any]:
        """The last line of an answer to a body of which not all could be stored."""
        log.warning(error.code, path="/items", detail=error.detail, hint=error.hint)
        from_line = self._totals["lines"] + 1
        end: dict[str, Any] = {"done": False, **self._totals, "from_line": from_line}
        outcome = f"Nothing from line {from_line} on was stored"
        if isinstance(error, CommitUnknown):
            end["maybe_stored"] = [from_line, self._tried]
            outcome = f"Lines {from_line} to {self._tried} may be stored, and none after them"
        # What the database said is for the log: it may name hosts and users.
        return end | {"error": {"code": error.code, "detail": f"{error.title}. {outcome}"}}


def _json_line(told: dict[str, Any]) -> bytes:
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
