"""Turn a request body into a new item, checked against the model's signature."""

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from batchline.api.bodies import too_large
from batchline.api.schemas import CUSTOM_ID_PATTERN
from batchline.api.signatures import Signatures
from batchline.constants import (
    DEFAULT_MODEL,
    MAX_BODY_BYTES,
    MAX_CUSTOM_ID_LENGTH,
    MAX_KEY_LENGTH,
    MAX_REPORTED_FAULTS,
    SMALL_BODY_BYTES,
)
from batchline.db.new_items import Key
from batchline.errors import Fault, InvalidData, NoModel, UnknownModel
from batchline.ml.faults import escape, faults
from batchline.ml.forms import stored_form, without_extra
from batchline.ml.inputs import kind_of
from batchline.request_errors import InvalidIdempotencyKey, InvalidJson

CUSTOM_ID = re.compile(CUSTOM_ID_PATTERN)

FIELDS = {"custom_id", "data", "extra", "model"}
IGNORE = "ignore"

STRING_OR_NAN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|\bNaN\b', re.DOTALL)
"""A string without an end matches too. Otherwise each quote in it would begin another search."""
NULL = {b"NaN": b"null"}


EXAMPLE = 'send {"data": [[…], …]}'


@dataclass(slots=True)
class NewItem:
    """An item to store: the name of its model, its rows as JSON text, and the client's own id."""

    model: str
    data: str
    custom_id: str | None = None
    sent: str | None = None
    """The rows as they were sent, if they are stored in another form."""


REFUSALS = (InvalidData, UnknownModel, NoModel)
"""The errors of a body that an earlier version of its model may have accepted."""


def to_key(key: str | None, item: NewItem) -> Key | None:
    """Return the Idempotency-Key of a request or a line, if it has one, with a hash of the item.

    Raises:
        InvalidIdempotencyKey: it is empty, too long, not printable ASCII, or has a space at an end.
    """
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise InvalidIdempotencyKey(
            f"an Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters",
            hint="use a random UUID",
        )
    if key != key.strip(" "):
        raise InvalidIdempotencyKey(
            "an Idempotency-Key must not begin or end with a space", hint="use a random UUID"
        )
    of_model = "" if item.model == DEFAULT_MODEL else f"{item.model} "
    # Only a custom id begins with a quotation mark, so no other request has the same text.
    own_id = "" if item.custom_id is None else f"{json.dumps(item.custom_id)} "
    meant = sha256(f"{own_id}{of_model}{item.sent or item.data}".encode())
    return Key(sha256(key.encode()).hexdigest(), meant.hexdigest())


def is_custom_id(value: Any) -> bool:
    """Return whether a request can have this custom id. None stands for no custom id."""
    return value is None or (
        isinstance(value, str)
        and len(value) <= MAX_CUSTOM_ID_LENGTH
        and CUSTOM_ID.fullmatch(value) is not None
    )


async def check_body(body: bytes, signatures: Signatures) -> NewItem:
    """Return the item that a request asks for.

    Check a large body in a thread, so that other requests do not wait for it.

    Raises:
        InvalidJson: the body is not valid JSON.
        InvalidData: it is not `{"data": rows}` with rows that the model accepts.
        UnknownModel: no model has this name.
    """
    if len(body) <= SMALL_BODY_BYTES:
        return _checked(body, signatures)
    return await asyncio.to_thread(_checked, body, signatures)


def _checked(body: bytes, signatures: Signatures) -> NewItem:
    return to_item(*parse(body), signatures)


def to_item(parsed: Any, reason: str, signatures: Signatures) -> NewItem:
    """Return the item that a parsed body asks for.

    Args:
        reason: the parse error if the body is not valid JSON, else "".

    Raises:
        InvalidJson: `reason` is not empty.
        InvalidData: it is not `{"data": rows}` with rows that the model accepts.
        UnknownModel: no model has this name.
        BodyTooLarge: the data is too large as the JSON text that would be stored.
    """
    sent = _fields_of(parsed)
    signature, data = signatures.of(sent.model), sent.data
    if sent.ignores_extra:
        data = without_extra(data, signature)
    found = faults(data, signature)
    if found:
        raise _invalid([replace(each, pointer=f"/data{each.pointer}") for each in found])
    if reason:
        raise InvalidJson(f"not valid JSON: {reason}", hint=EXAMPLE)
    stored = stored_form(data, signature)
    text = orjson.dumps(stored)
    if len(text) > MAX_BODY_BYTES:  # 1e15 becomes 1000000000000000.0
        raise too_large()
    as_sent = None if stored is sent.data else orjson.dumps(sent.data).decode()
    return NewItem(sent.model, text.decode(), sent.custom_id, as_sent)


def as_sent(parsed: Any, reason: str) -> NewItem | None:
    """Return the item of a body that was refused, to find it by its key, or None.

    A newer version of the model may refuse what an earlier one accepted.
    """
    try:
        sent = _fields_of(parsed)
        text = orjson.dumps(sent.data).decode()
    except (InvalidData, orjson.JSONEncodeError):
        return None
    return None if reason else NewItem(sent.model, text, sent.custom_id)


def parse(body: bytes) -> tuple[Any, str]:
    """Return the parsed body, and the parse error if it is not valid JSON.

    NaN, which many libraries write, counts as null. If the body is not valid otherwise, the parsed
    body serves only to point to invalid values.

    Raises:
        InvalidJson: it cannot be parsed at all.
        InvalidData: it is nested too deeply.
    """
    try:
        return orjson.loads(body), ""
    except orjson.JSONDecodeError as error:
        reason = str(error)
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(_without_nan(body)), ""
    # 1e999 and Infinity are not valid JSON, but some libraries write them. Their users need a
    # pointer to the value more than a position in the text.
    try:
        return json.loads(body, parse_int=_to_number), reason
    except RecursionError:
        fault = Fault("/data", "nested_too_deep", "the data is nested hundreds of levels deep")
        raise _invalid([fault]) from None
    except ValueError:
        raise InvalidJson(f"not valid JSON: {reason}", hint=EXAMPLE) from None


def _without_nan(body: bytes) -> bytes:
    """Write null for each NaN outside of strings."""
    return STRING_OR_NAN.sub(lambda found: NULL.get(found[0], found[0]), body)


def _to_number(digits: str) -> float:
    return int(digits) if len(digits) < len(str(2**63)) else float(digits)


@dataclass(frozen=True, slots=True)
class _Fields:
    """A body's fields. `ignores_extra`: whether to ignore names that the model does not have."""

    model: str
    custom_id: str | None
    data: Any
    ignores_extra: bool


def _fields_of(body: Any) -> _Fields:
    if not isinstance(body, dict):
        raise _invalid([Fault("", "wrong_shape", 'expected an object {"data": rows}')])
    found = [_unknown(key) for key in islice(body, MAX_REPORTED_FAULTS) if key not in FIELDS]
    if "data" not in body:
        found.insert(0, Fault("/data", "missing", "is missing"))
    model = body.get("model", DEFAULT_MODEL)
    if not isinstance(model, str):
        found.append(Fault("/model", "not_a_text", f"expected a string, got {kind_of(model)}"))
    custom_id = body.get("custom_id")
    if not is_custom_id(custom_id):
        found.append(_custom_id_fault(custom_id))
    extra = body.get("extra", IGNORE)
    if extra != IGNORE:
        detail = f'expected "{IGNORE}", got {kind_of(extra)}'
        found.append(Fault("/extra", "unknown_value", detail))
    if found:
        raise _invalid(found)
    return _Fields(model, custom_id, body["data"], "extra" in body)


def _custom_id_fault(value: Any) -> Fault:
    if not isinstance(value, str):
        return Fault("/custom_id", "not_a_text", f"expected a string, got {kind_of(value)}")
    found = "others" if 0 < len(value) <= MAX_CUSTOM_ID_LENGTH else str(len(value))
    detail = (
        f"expected 1 to {MAX_CUSTOM_ID_LENGTH} characters, without control characters and"
        f" without a space at either end, got {found}"
    )
    return Fault("/custom_id", "invalid_custom_id", detail)


def _unknown(key: str) -> Fault:
    return Fault(f"/{escape(key)}", "unknown_field", "unknown field")


def _invalid(found: list[Fault]) -> InvalidData:
    detail = "; ".join(f"{each.pointer}: {each.detail}".removeprefix(": ") for each in found[:3])
    hint = next((fault.hint for fault in found if fault.hint), "")
    return InvalidData(detail, hint=hint, faults=found)
