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
    """The bodies that are in memory until they are checked; their sum is bounded.

    Small ones do not count, so a few that are large and slow keep nobody else out.

    Args:
        timeout: seconds that one body may take to arrive.
    """

    def __init__(self, timeout: float = BODY_TIMEOUT) -> None:
        self._timeout = timeout
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """The whole body; it counts until it is given to `release`.

        Raises:
            BodyTooLarge: it is larger than `MAX_BODY_BYTES`; the rest of it is not read.
            BodyTimeout: it has not arrived in time.
            IntakeFull: all together are larger than `BODIES_MAX_BYTES`.
        """
        if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
            raise too_large()
        body = bytearray()  # not a list: of bytes that come one by one each would be an object
        try:
            await self._receive(request, body)
        except BaseException:
            self.release(body)
            raise
        return bytes(body)

    def release(self, body: bytes | bytearray) -> None:
        """It has been checked, or has not come."""
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
                f"the body has not arrived within {self._timeout} seconds",
                hint="send the rows in several requests",
            ) from None

    def _count(self, more: int) -> None:
        if self._bytes + more > BODIES_MAX_BYTES:
            raise IntakeFull("too many large bodies are arriving", hint="send it again in a moment")
        self._bytes += more


def _counted(size: int) -> int:
    return max(0, size - SMALL_BODY_BYTES)


def too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"a body may have at most {MAX_BODY_BYTES} bytes", hint="send the rows in several requests"
    )
