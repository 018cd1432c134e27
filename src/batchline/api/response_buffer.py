"""The part of a response that the client has not read yet, up to a limit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Send

from batchline.constants import (
    UPLOAD_PROGRESS_BYTES,
    UPLOAD_RESPONSE_BUFFER_BYTES,
)

LAST_LINE_TIMEOUT = 5.0
"""Seconds that a client has to read the rest of a response that ends early."""


class ResponseBuffer:
    """Holds the unread part of a response, up to a limit, and sends it in the background.

    Simple clients read nothing until they have sent everything. So the server goes on reading the
    body while the response waits, until the buffer is full.
    """

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], timeout: float) -> None:
        self._send = send
        self._headers = headers
        self._timeout = timeout
        self._waiting = bytearray()
        self._filled, self._sent = asyncio.Event(), asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._wait: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    @property
    def has_begun(self) -> bool:
        """Whether the client may have received the status."""
        return self._sending is not None

    async def put(self, text: bytes) -> None:
        """Add text to the buffer, and wait only if it is full.

        Raises:
            ClientDisconnect: the client reads too slowly.
        """
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        self._waiting += text
        self._filled.set()
        await self._until_waiting_are(UPLOAD_RESPONSE_BUFFER_BYTES)

    async def end(self, text: bytes) -> None:
        """Send the last part, and wait until everything is sent.

        Raises:
            ClientDisconnect: the client reads too slowly.
        """
        await self.put(text)
        await self._until_waiting_are(0)
        async with self._patience():
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def stop_waiting(self) -> None:
        """End a wait for the client. Later ones are short: they let it read a last line."""
        self._timeout = min(self._timeout, LAST_LINE_TIMEOUT)
        if self._wait is not None:
            self._wait.reschedule(0)

    async def _send_all(self) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self._headers}
        await self._send(start)
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                part = bytes(self._waiting[:UPLOAD_PROGRESS_BYTES])
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                del self._waiting[: len(part)]
                self._sent.set()

    async def _until_waiting_are(self, size: int) -> None:
        while len(self._waiting) > size:
            self._sent.clear()
            async with self._patience():
                await self._sent.wait()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout) as self._wait:
                yield
        except TimeoutError:
            raise ClientDisconnect from None
        finally:
            self._wait = None
