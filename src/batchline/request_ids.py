"""The id of a request, which finds it in the logs of its client, of the API and of the job."""

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

X_REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

SPAN_OF_SCOPE = "batchline.traceparent"
"""Where an ASGI scope has the span of the request, if it is traced."""

MAX_LENGTH = 64

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:+/=-]{{0,{MAX_LENGTH - 1}}}".encode())
"""The characters of UUIDs, ULIDs and base64. No line break or quotation mark gets into a log."""

_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Origin(NamedTuple):
    """The request that registers an item: its id, and its span if it is traced."""

    request_id: str | None = None
    traceparent: str | None = None


UNKNOWN = Origin()


def origin_of(scope: Mapping[str, Any]) -> Origin:
    """Return what is stored of a request with its items."""
    request_id, traceparent = sent_in(scope["headers"]), scope.get(SPAN_OF_SCOPE)
    if request_id is None and traceparent is None:
        return UNKNOWN
    return Origin(request_id, traceparent)


def sent_in(fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the id that a client sent in its header, or None.

    It is `X-Request-ID`, or else the trace id of `traceparent`. A value that is no id is ignored:
    it must not cost a registration.
    """
    trace = None
    for name, value in fields:
        if name == X_REQUEST_ID:
            if found := _ID.fullmatch(value.strip(b" \t")):
                return found[0].decode()
        elif name == TRACEPARENT and (found := _TRACE.fullmatch(value.strip(b" \t"))):
            trace = found[1].decode()
    return trace


def new() -> str:
    """Return an id for a request that was sent without one."""
    return secrets.token_hex(8)


def is_id(value: object) -> bool:
    """Return whether a value of the table is an id. SQL clients may store anything there."""
    return isinstance(value, str) and _ID.fullmatch(value.encode(errors="replace")) is not None
