"""Read request bodies within limits on size, time, and the memory of all bodies together."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from batchline.api.deadlines import Deadlines
from batchline.api.fields import field
from batchline.constants import (
    BODIES_MAX_BYTES,
    BODY_TIMEOUT,
    MAX_BODY_BYTES,
    SMALL_BODY_BYTES,
)
from batchline.errors import IntakeFull
from batchline.request_errors import BodyTimeout, BodyTooLarge


class BodyReader:
    """Reads bodies, and limits the memory of all bodies together until they are checked.

    Small bodies do not count. So a few large and slow bodies do not block clients that send small
    ones.

    Args:
        timeout: seconds that one body may take to arrive.
    """

    def __init__(self, timeout: float = BODY_TIMEOUT) -> None:
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """Return the whole body. It counts towards the limit until you pass it to `release`.

        Raises:
            BodyTooLarge: the body is larger than `MAX_BODY_BYTES`. Its rest is not read.
            BodyTimeout: the body did not arrive in time.
            IntakeFull: all bodies together are larger than `BODIES_MAX_BYTES`.
        """
        if int(field(request.scope, b"content-length") or 0) > MAX_BODY_BYTES:
            raise too_large()
        body = bytearray()  # if a client sends single bytes, a list holds an object for each
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
            with self._deadlines:
                has_more = True
                while has_more:
                    chunk, has_more = await _next_chunk(request)
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
                f"the large bodies being received exceed {BODIES_MAX_BYTES} bytes in total",
                hint="send the request again in a moment",
            )
        self._bytes += more


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _counted(size: int) -> int:
    return max(0, size - SMALL_BODY_BYTES)


def too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has more than {MAX_BODY_BYTES} bytes, which is the limit",
        hint="send the rows in several requests",
    )
