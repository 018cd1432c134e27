"""The body of `POST /predict`: read within a bound, parsed, checked with the model's signature."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson
from fastapi import Request

from batchline.constants import (
    BODIES_MAX_BYTES,
    BODY_TIMEOUT,
    DEFAULT_MODEL,
    MAX_BODY_BYTES,
    MAX_KEY_LENGTH,
    MAX_REPORTED_FAULTS,
    SMALL_BODY_BYTES,
)
from batchline.db.cruds.idempotency import Key
from batchline.errors import (
    BodyTimeout,
    BodyTooLarge,
    Fault,
    IntakeFull,
    InvalidData,
    InvalidIdempotencyKey,
    InvalidJson,
    NoModel,
    UnknownModel,
)
from batchline.ml.inputs import kind_of
from batchline.ml.signature import Signature, escape

FIELDS = {"data", "model"}
EXAMPLE = 'send {"data": [[…], …]}'


@dataclass(slots=True)
class Checked:
    """What becomes an item: the model's name, and its rows as the JSON text that is stored."""

    model: str
    data: str


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


def to_key(header: str | None, item: Checked) -> Key | None:
    """The request's Idempotency-Key, if it has one, with what it stands for.

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
    of_model = "" if item.model == DEFAULT_MODEL else f"{item.model} "
    meant = sha256(f"{of_model}{item.data}".encode())
    return Key(sha256(header.encode()).hexdigest(), meant.hexdigest())


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"a body may have at most {MAX_BODY_BYTES} bytes", hint="send the rows in several requests"
    )


class Signatures:
    """The signatures of the active versions, by the model's name, as of one moment."""

    def __init__(self, by_name: Mapping[str, Signature]) -> None:
        self._by_name = by_name

    def of(self, name: str) -> Signature:
        """The signature of a model.

        Raises:
            NoModel: the default model has not been published yet.
            UnknownModel: there is no model of this name.
        """
        if name in self._by_name:
            return self._by_name[name]
        if name == DEFAULT_MODEL:
            raise NoModel("no model has been published", hint="start `batchline job`")
        known = ", ".join(islice(sorted(self._by_name), MAX_REPORTED_FAULTS))
        raise UnknownModel(
            f"there is no model {name[:80]!r}", hint=f"the models are: {known or 'none'}"
        )


async def check_data(body: bytes, signatures: Signatures) -> Checked:
    """The item that a request asks for.

    A large body is checked in a thread, so that the others need not wait for it.

    Raises:
        InvalidJson: the body is not JSON.
        InvalidData: it is, but not `{"data": rows}` with rows that the model takes.
        UnknownModel: there is no such model.
    """
    if len(body) <= SMALL_BODY_BYTES:
        return _checked(body, signatures)
    return await asyncio.to_thread(_checked, body, signatures)


def _checked(body: bytes, signatures: Signatures) -> Checked:
    return to_item(*parse(body), signatures)


def to_item(parsed: Any, reason: str, signatures: Signatures) -> Checked:
    """What `parse` gave, as the item that it asks for.

    Raises:
        InvalidJson: there is a reason why it is no JSON.
        InvalidData: it is, but not `{"data": rows}` with rows that the model takes.
        UnknownModel: there is no such model.
        BodyTooLarge: written out, it is.
    """
    model, data = _fields_of(parsed)
    signature = signatures.of(model)
    faults = signature.faults(data)
    if faults:
        raise _refused([Fault("/data" + f.pointer, f.code, f.detail) for f in faults])
    if reason:
        raise InvalidJson(f"the body is not JSON: {reason}", hint=EXAMPLE)
    text = orjson.dumps(signature.first(data) if signature.is_plain else data)
    if len(text) > MAX_BODY_BYTES:  # 1e15 is written out as 1000000000000000.0
        raise _too_large()
    return Checked(model, text.decode())


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


def _fields_of(body: Any) -> tuple[str, Any]:
    if not isinstance(body, dict):
        raise _refused([Fault("", "wrong_shape", 'expected an object {"data": rows}')])
    faults = [_unknown(key) for key in islice(body, MAX_REPORTED_FAULTS) if key not in FIELDS]
    if "data" not in body:
        faults.insert(0, Fault("/data", "missing", "is missing"))
    model = body.get("model", DEFAULT_MODEL)
    if not isinstance(model, str):
        faults.append(Fault("/model", "not_a_text", f"expected a name, got {kind_of(model)}"))
    if faults:
        raise _refused(faults)
    return model, body["data"]


def _unknown(key: str) -> Fault:
    return Fault(f"/{escape(key)}", "unknown_field", "is no field of this request")


def _refused(faults: list[Fault]) -> InvalidData:
    detail = "; ".join(f"{fault.pointer or 'the body'}: {fault.detail}" for fault in faults[:3])
    return InvalidData(detail, faults=faults)
