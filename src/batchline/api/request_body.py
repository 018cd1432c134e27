"""The body of `POST /predict`: read within a bound, parsed, checked against the signature."""

import asyncio
import json
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson
from fastapi import Request

from batchline.constants import (
    BODIES_MAX_BYTES,
    BODY_TIMEOUT,
    MAX_BODY_BYTES,
    MAX_KEY_LENGTH,
    MAX_REPORTED_FAULTS,
    SMALL_BODY_BYTES,
)
from batchline.db.cruds import Key
from batchline.errors import (
    BodyTimeout,
    BodyTooLarge,
    Fault,
    IntakeFull,
    InvalidData,
    InvalidIdempotencyKey,
    InvalidJson,
)
from batchline.ml.signature import Signature

EXAMPLE = 'send {"data": [[…], …]}'


class Bodies:
    """The bodies that are in memory until they are checked; their sum is bounded.

    Small ones do not count, so a few that are large and slow keep nobody else out.

    Args:
        timeout: seconds that one body may take to arrive.
    """

    def __init__(self, timeout: float = BODY_TIMEOUT) -> None:
        self._timeout = timeout
        self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """The whole body; it counts until it is given to `forget`.

        Raises:
            BodyTooLarge: it is larger than `MAX_BODY_BYTES`; the rest of it is not read.
            BodyTimeout: it has not arrived in time.
            IntakeFull: all together are larger than `BODIES_MAX_BYTES`.
        """
        if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
            raise _too_large()
        body = bytearray()  # not a list: of bytes that come one by one each would be an object
        try:
            await self._receive(request, body)
        except BaseException:
            self.forget(body)
            raise
        return bytes(body)

    def forget(self, body: bytes | bytearray) -> None:
        """It has been checked, or has not come."""
        self._bytes -= _counted(len(body))

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in request.stream():
                    self._count(_counted(len(body) + len(chunk)) - _counted(len(body)))
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise _too_large()
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


def to_key(header: str | None, data: str) -> Key | None:
    """The request's Idempotency-Key, if it has one, with the data that it stands for.

    Raises:
        InvalidIdempotencyKey: it is empty, too long, or not printable ASCII.
    """
    if header is None:
        return None
    if not 0 < len(header) <= MAX_KEY_LENGTH or not (header.isascii() and header.isprintable()):
        raise InvalidIdempotencyKey(
            f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters",
            hint="a random UUID is a good key",
        )
    return Key(sha256(header.encode()).hexdigest(), sha256(data.encode()).hexdigest())


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"a body may have at most {MAX_BODY_BYTES} bytes", hint="send the rows in several requests"
    )


async def check_data(body: bytes, signature: Signature) -> str:
    """The rows of the request, as the JSON text that is stored.

    A large body is checked in a thread, so that the others need not wait for it.

    Raises:
        InvalidJson: the body is not JSON.
        InvalidData: it is, but not `{"data": rows}` with rows that the model takes.
    """
    if len(body) <= SMALL_BODY_BYTES:
        return _checked(body, signature)
    return await asyncio.to_thread(_checked, body, signature)


def _checked(body: bytes, signature: Signature) -> str:
    return to_text(*parse(body), signature)


def to_text(parsed: Any, reason: str, signature: Signature) -> str:
    """What `parse` gave, as the JSON text of its rows.

    Raises:
        InvalidJson: there is a reason why it is no JSON.
        InvalidData: it is, but not `{"data": rows}` with rows that the model takes.
        BodyTooLarge: written out, it is.
    """
    data = _data_of(parsed)
    faults = signature.faults(data)
    if faults:
        raise _refused([Fault("/data" + f.pointer, f.code, f.detail) for f in faults])
    if reason:
        raise InvalidJson(f"the body is not JSON: {reason}", hint=EXAMPLE)
    text = orjson.dumps(data)
    if len(text) > MAX_BODY_BYTES:  # 1e15 is written out as 1000000000000000.0
        raise _too_large()
    return text.decode()


def parse(body: bytes) -> tuple[Any, str]:
    """What the body holds, and why it is no JSON, if it is none: then only to tell its faults.

    Raises:
        InvalidJson: it does not even look like JSON.
        InvalidData: it is nested too deep to be looked at.
    """
    try:
        return orjson.loads(body), ""
    except orjson.JSONDecodeError as error:
        reason = str(error)
    # NaN and 1e999 are no JSON, but many libraries write them, and whoever sent them is helped
    # more by a pointer to the value than by a position in the text.
    try:
        return json.loads(body, parse_int=_to_number), reason
    except RecursionError:
        fault = Fault("/data", "nested_too_deep", "the data is nested hundreds of levels deep")
        raise _refused([fault]) from None
    except ValueError:
        raise InvalidJson(f"the body is not JSON: {reason}", hint=EXAMPLE) from None


def _to_number(digits: str) -> float:
    return int(digits) if len(digits) < len(str(2**63)) else float(digits)


def _data_of(body: Any) -> Any:
    if not isinstance(body, dict):
        raise _refused([Fault("", "wrong_shape", 'expected an object {"data": rows}')])
    faults = [_unknown(key) for key in islice(body, MAX_REPORTED_FAULTS) if key != "data"]
    if "data" not in body:
        faults.insert(0, Fault("/data", "missing", "is missing"))
    if faults:
        raise _refused(faults)
    return body["data"]


def _unknown(key: str) -> Fault:
    text = key[:100].encode(errors="replace").decode()  # half of a surrogate pair is no text
    pointer = text.replace("~", "~0").replace("/", "~1")  # as RFC 6901 escapes them
    return Fault(f"/{pointer}", "unknown_field", "is no field of this request")


def _refused(faults: list[Fault]) -> InvalidData:
    detail = "; ".join(f"{fault.pointer or 'the body'}: {fault.detail}" for fault in faults[:3])
    return InvalidData(detail, faults=faults)
