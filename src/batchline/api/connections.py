"""Limit what the clients' connections may hold: heads, unread responses, and connections.

uvicorn limits none of them. A client may send a head without an end, send nothing, or read nothing.
"""

import asyncio
import struct
from collections.abc import Iterator
from itertools import chain
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from batchline.api import problems
from batchline.constants import (
    CONNECTION_CHECK_INTERVAL,
    HEAD_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
    MAX_PIPELINED_REQUESTS,
    RESPONSE_TIMEOUT,
    RESPONSES_MAX_BYTES,
    UNREAD_RESPONSE_BYTES,
)
from batchline.errors import BatchlineError
from batchline.request_errors import HeadTimeout, HeadTooLarge, InvalidRequest


class Connection(HttpToolsProtocol):
    """The connection of one client.

    A response that the client has not read yet counts as unfinished. So the connection's next
    request waits, and a client has one large response in memory at most.
    """

    def __init__(self, connections: "Connections", **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self.headers = []
        self._all = connections
        self._bytes_without_body = 0  # in succession: a head, or chunks without data
        self._since = self.loop.time()  # when the client connected, was served, or began a head
        self._unread, self._read_at = 0, 0.0
        self._is_response_unread = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(UNREAD_RESPONSE_BYTES, low=0)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.closed(self)

    # Requests ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._bytes_without_body += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # the request is served, and the parser reads no other
        except httptools.HttpParserError as error:
            self._refuse(_cause(error))
        else:
            if self._bytes_without_body > MAX_HEAD_BYTES or len(self.headers) > MAX_HEAD_FIELDS:
                self._refuse(_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEAD_FIELDS or self._is_head_too_large():
            raise _too_large()
        if len(self.pipeline) == MAX_PIPELINED_REQUESTS:
            raise InvalidRequest("too many requests were sent without waiting for a response")
        self._bytes_without_body = 0
        self._all.without_head.pop(self, None)
        super().on_headers_complete()
        self.headers = []  # trailers, which are not part of the head: they may hold any key or host

    def on_body(self, body: bytes) -> None:
        self._bytes_without_body = 0
        super().on_body(body)

    def _is_head_too_large(self) -> bool:
        if self._bytes_without_body <= MAX_HEAD_BYTES:  # which include the head
            return False
        fields = sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        return len(self.url) + fields > MAX_HEAD_BYTES

    def _refuse(self, error: BatchlineError) -> None:
        """Respond with an error, unless another response has begun, and close the connection."""
        is_free = self.cycle is None or self.cycle.response_complete
        if not self.pipeline and (is_free or not self.cycle.response_started):
            response = problems.of(error)
            fields = [*self.server_state.default_headers, *response.raw_headers]
            head = [b"%b: %b\r\n" % field for field in fields]
            parts = [STATUS_LINE[error.status], *head, b"connection: close\r\n\r\n", response.body]
            self.transport.write(b"".join(map(bytes, parts)))
        self.pipeline.clear()
        self.transport.close()

    # Responses ---------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        if self.flow.write_paused and not self.transport.is_closing():
            self._is_response_unread = True
            self.flow.pause_reading()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:  # uvicorn sets a timer here, which takes longer than `check`
            self._since = self.loop.time()
            self._all.without_head[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._all.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all.let_go(self)
        if self._is_response_unread:
            self._is_response_unread = False
            self.on_response_complete()

    # Time --------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection if its client has not sent a head or read a response in time."""
        unread = self.transport.get_write_buffer_size()
        if unread != self._unread:
            self._unread, self._read_at = unread, now
        if unread:
            if now - self._read_at > RESPONSE_TIMEOUT:
                self.abort()
        elif self in self._all.without_head and now - self._since > HEAD_TIMEOUT:
            self._end_waiting()

    def _end_waiting(self) -> None:
        if self._bytes_without_body:
            self._refuse(HeadTimeout(f"the head did not arrive within {HEAD_TIMEOUT:g} s"))
        else:
            self.transport.close()

    def abort(self) -> None:
        """Close the connection, and let the kernel forget what the client has not read."""
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
        self.transport.abort()

    @property
    def read_at(self) -> float:
        """When the client was last seen to read a part of the response."""
        return self._read_at

    @property
    def waits_for_client(self) -> bool:
        """Whether the client has not sent all of its request, or not read all of the response."""
        return self.flow.write_paused or self.cycle is None or self.cycle.more_body


class Connections:
    """The connections of one process, and the memory of the responses that are not read."""

    def __init__(self) -> None:
        self.without_head: dict[Connection, None] = {}  # the one that waits longest is first
        self._open: dict[Connection, None] = {}  # the oldest is first
        self._unread: dict[Connection, int] = {}
        self._checking: asyncio.TimerHandle | None = None

    def opened(self, new: Connection) -> None:
        """Add a connection. At the limit, close another one, so that every client gets in."""
        if len(self._open) >= MAX_CONNECTIONS:
            self._drop(next(self._closable(), new))
        self._open[new] = self.without_head[new] = None
        if self._checking is None:
            self._check_later(new.loop)

    def closed(self, connection: Connection) -> None:
        self._open.pop(connection, None)
        self.without_head.pop(connection, None)
        self._unread.pop(connection, None)

    def hold(self, connection: Connection, size: int) -> None:
        """Count an unread response. Beyond the limit, drop the client that reads least.

        All of a response is in memory until the last of it is read, so `size` does not shrink.
        """
        connection.check(connection.loop.time())
        self._unread[connection] = size
        # The one that has read nothing for the longest time.
        while sum(self._unread.values()) > RESPONSES_MAX_BYTES and len(self._unread) > 1:
            self._drop(min(self._unread, key=lambda each: each.read_at))

    def let_go(self, connection: Connection) -> None:
        """Stop counting a response that the client has read."""
        self._unread.pop(connection, None)

    def _closable(self) -> Iterator[Connection]:
        """Yield connections without a head, then those that wait for their client, oldest first."""
        waiting = (each for each in self._open if each.waits_for_client)
        return chain(self.without_head, waiting, self._open)

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self.closed(connection)  # now, since asyncio tells of it later

    def _check_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._checking = loop.call_later(CONNECTION_CHECK_INTERVAL, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.check(now)
        self._checking = None
        if self._open:
            self._check_later(loop)


def _cause(error: httptools.HttpParserError) -> BatchlineError:
    """Return the error that a callback raised, or one that says what the parser found."""
    if isinstance(error.__context__, BatchlineError):
        return error.__context__
    return InvalidRequest(f"the request is not valid HTTP/1.1: {error}")


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"the head has more than {MAX_HEAD_BYTES} bytes or {MAX_HEAD_FIELDS} fields",
        hint="send fewer or shorter header fields",
    )
