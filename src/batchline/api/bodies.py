"""Read a request body within limits on its size, its time and the memory of all together."""

import asyncio

from fastapi import Request

from batchline.constants import (
    BODIES_MAX_BYTES,
    BODY_TIMEOUT,
    MAX_BODY_BYTES,
    SMALL_BODY_BYTES,
)
from batchline.errors import (
    BodyTimeout,
    BodyTooLarge,
    IntakeFull,
)


class BodyReader:
    """Reads bodies, and limits what all of them together take in memory until they are checked.

    Small bodies do not count, so a few large and slow ones do not block other clients.

    Args:
        timeout: seconds that one body may take to arrive.
    """

    def __init__(self, timeout: float = BODY_TIMEOUT) -> None:
        self._timeout = timeout
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """Return the whole body. It counts until `release` is called with it.

        Raises:
            BodyTooLarge: it is larger than `MAX_BODY_BYTES`. The rest of it is not read.
            BodyTimeout: it did not arrive in time.
            IntakeFull: all bodies together are larger than `BODIES_MAX_BYTES`.
        """
        if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
            raise too_large()
        body = bytearray()  # a list would have an object for each byte of a slow client
        try:
            await self._receive(request, body)
        except BaseException:
            self.release(body)
            raise
        return bytes(body)

    def release(self, body: bytes | bytearray) -> None:
        """Stop counting a body: it has been checked, or did not arrive."""
        self._bytes -= _counted(len(body))

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in request.stream():
                    self._count(_counted(len(body) + len(chunk)) - _counted(len(body)))
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise too_large()
        except TimeoutError:
            raise BodyTimeout(
                f"the body did not arrive within {self._timeout:g} s",
                hint="send the rows in several requests",
            ) from None

    def _count(self, more: int) -> None:
        if self._bytes + more > BODIES_MAX_BYTES:
            raise IntakeFull(
                f"large request bodies take more than {BODIES_MAX_BYTES} bytes together",
                hint="send the request again in a moment",
            )
        self._bytes += more


def _counted(size: int) -> int:
    return max(0, size - SMALL_BODY_BYTES)


def too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"a body must have at most {MAX_BODY_BYTES} bytes", hint="send the rows in several requests"
    )
