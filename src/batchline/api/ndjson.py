"""Split an NDJSON body into lines, check the lines, and report on each.

`requests` and the signature check a line like a body of `POST /predict`. This module makes that
fast for many lines.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from typing import Any, TypeVar

import orjson

from batchline.api.requests import (
    IGNORE,
    REFUSALS,
    NewItem,
    as_sent,
    is_custom_id,
    parse,
    to_item,
    to_key,
)
from batchline.api.signatures import Signatures
from batchline.constants import (
    DEFAULT_MODEL,
    MAX_BODY_BYTES,
    UPLOAD_BLOCK_BYTES,
    UPLOAD_GROUP_LINES,
    UPLOAD_LANE,
    UPLOAD_MAX_EXPLAINED_LINES,
)
from batchline.db.new_items import Key, NewItems
from batchline.errors import BatchlineError, InvalidData
from batchline.ml.forms import accepts, stored_forms, without_extra
from batchline.ml.inputs import kind_of
from batchline.request_errors import InvalidIdempotencyKey, LineTooLarge
from batchline.request_ids import Origin

CHECK_CHUNK_LINES = 500
"""Lines that are checked together. If one of them is invalid, they are halved to find it."""

FEW_LINES = 32
"""Lines that are checked one by one if one of them is invalid. Halving them takes longer."""

CHUNK_LINE_MAX_BYTES = MAX_BODY_BYTES // 100
"""A longer line is checked by itself, since parsed lines take much memory."""

NOT_SENT = object()


T = TypeVar("T")


Rejection = dict[str, Any]


@dataclass(slots=True)
class Group:
    """Lines that are stored in one transaction, and the rejected ones among them.

    `numbers` has the number of each valid line, and of each refused one, which is stored already if
    its key is known. The next lists are the columns of `NewItems`.
    """

    first: int
    last: int
    numbers: list[int] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    custom_ids: list[str | None] = field(default_factory=list)
    keys: list[Key | None] = field(default_factory=list)
    refused: dict[int, BatchlineError] = field(default_factory=dict)
    rejected: list[tuple[int, Rejection]] = field(default_factory=list)

    def add(
        self,
        numbers: Sequence[int],
        data: Sequence[str],
        models: Sequence[str],
        custom_ids: Sequence[str | None],
        keys: Sequence[Key | None],
    ) -> None:
        """Add valid lines."""
        self.numbers += numbers
        self.data += data
        self.models += models
        self.custom_ids += custom_ids
        self.keys += keys

    def new_items(self, api_key_id: int | None, origin: Origin) -> NewItems:
        """Return the valid lines as items to store, with API key and origin of their upload."""
        return NewItems(
            self.data,
            self.models,
            self.custom_ids,
            [None if key is None else key.owned_by(api_key_id) for key in self.keys],
            [api_key_id] * len(self.data),
            [origin.request_id] * len(self.data),
            [origin.traceparent] * len(self.data),
            self.refused,
            UPLOAD_LANE,
        )

    def before_item(self, count: int) -> "Group":
        """Return the lines before the item with this place. All lines, if there are no more."""
        if count >= len(self.numbers):
            return self
        return self._part(slice(0, count), self.first, self.numbers[count] - 1)

    def from_item(self, count: int) -> "Group":
        """Return the lines from the item with this place on."""
        return self._part(slice(count, len(self.numbers)), self.numbers[count], self.last)

    def refusing_from(self, count: int, error: BatchlineError) -> "Group":
        """Return these lines, of which those from this item on are rejected if they are new."""
        beyond = dict.fromkeys(range(count, len(self.numbers)), error)
        return replace(self, refused={**beyond, **self.refused})

    def _part(self, items: slice, first: int, last: int) -> "Group":
        places = range(len(self.numbers))[items]
        return Group(
            first,
            last,
            self.numbers[items],
            self.data[items],
            self.models[items],
            self.custom_ids[items],
            self.keys[items],
            {place - places.start: e for place, e in self.refused.items() if place in places},
            [each for each in self.rejected if first <= each[0] <= last],
        )


async def blocks(
    stream: AsyncIterator[bytes], hold: Callable[[int], None] = lambda size: None
) -> AsyncIterator[bytes]:
    """Yield the body in blocks of whole lines.

    A block has about `UPLOAD_BLOCK_BYTES`, or one longer line. A line that is too large is cut off
    one byte above the limit.

    Args:
        hold: called with the bytes in memory: of the lines that arrive, and of the last block.
    """
    rest = bytearray()
    begin = 0  # the start of the last line, which may be incomplete
    in_progress = 0  # the size of the last block, which is being stored
    async for piece in stream:
        newline = piece.rfind(b"\n")
        if newline >= 0:
            _append(rest, begin, piece[: piece.find(b"\n")])
            rest += piece[piece.find(b"\n") : newline + 1]
            begin = len(rest)
        _append(rest, begin, piece[newline + 1 :])
        hold(in_progress + len(rest))
        if begin and len(rest) >= UPLOAD_BLOCK_BYTES:
            with memoryview(rest) as whole:
                block = bytes(whole[:begin])
            del rest[:begin]
            in_progress, begin = len(block), 0
            yield block
            del block
    if rest:
        yield bytes(rest)


def _append(rest: bytearray, begin: int, piece: bytes) -> None:
    rest += piece[: max(0, begin + MAX_BODY_BYTES + 1 - len(rest))]


def split(block: bytes) -> Iterator[list[bytes]]:
    """Yield the lines of a block in parts of the same size, up to `UPLOAD_GROUP_LINES`.

    Line feeds are removed. The CR of a CRLF stays, since JSON allows it as white space.
    """
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    size = ceil(len(lines) / ceil(len(lines) / UPLOAD_GROUP_LINES))
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


def check_lines(lines: Sequence[bytes], first: int, signatures: Signatures, told: int) -> Group:
    """Return the lines that can be stored, and the errors of the others.

    Args:
        told: the number of lines of this body that were rejected before. After
            `UPLOAD_MAX_EXPLAINED_LINES` rejected lines, errors have only a code.
    """
    group = Group(first, first + len(lines) - 1)
    for start in range(0, len(lines), CHECK_CHUNK_LINES):
        part = lines[start : start + CHECK_CHUNK_LINES]
        _take(part, first + start, signatures, group, told)
    return group


def _take(
    lines: Sequence[bytes], first: int, signatures: Signatures, group: Group, told: int
) -> None:
    if _take_all(lines, first, signatures, group):
        return
    if len(lines) <= FEW_LINES:
        _take_each(lines, first, signatures, group, told)
        return
    middle = len(lines) // 2
    _take(lines[:middle], first, signatures, group, told)
    _take(lines[middle:], first + middle, signatures, group, told)


def _take_all(lines: Sequence[bytes], first: int, signatures: Signatures, group: Group) -> bool:
    """Add all of these lines to the group. If one of them may be invalid, add none of them."""
    if max(map(len, lines)) > CHUNK_LINE_MAX_BYTES:
        return False
    try:
        bodies: list[dict[str, Any]] = list(map(orjson.loads, lines))
        if set(map(type, bodies)) != {dict}:
            return False
        data = [body.pop("data") for body in bodies]
        sent = data
        sent_keys = [body.pop("idempotency_key", None) for body in bodies]
        custom_ids = [body.pop("custom_id", None) for body in bodies]
        model = bodies[0].get("model", DEFAULT_MODEL)
        extra = [body.pop("extra", NOT_SENT) for body in bodies]
        if any(body.pop("model", DEFAULT_MODEL) != model or body for body in bodies):
            return False
        if not isinstance(model, str) or not all(map(is_custom_id, custom_ids)):
            return False
        if extra.count(extra[0]) < len(extra) or extra[0] not in (NOT_SENT, IGNORE):
            return False
        signature = signatures.of(model)
        if extra[0] == IGNORE:
            data = [without_extra(each, signature) for each in data]
        if not accepts(data, signature):
            return False
        if signature.is_plain:
            data = stored_forms(data, signature)
        texts = _texts(data)
        models = [model] * len(texts)
        keys = sent_keys
        if sent_keys.count(None) < len(sent_keys):
            as_sent = texts if data is sent else _texts(sent)
            keys = list(map(_to_key, sent_keys, map(NewItem, models, as_sent, custom_ids)))
    except (orjson.JSONDecodeError, KeyError, BatchlineError):
        return False
    group.add(range(first, first + len(lines)), texts, models, custom_ids, keys)
    return True


def _texts(data: Sequence[Any]) -> list[str]:
    return [text.decode() for text in map(orjson.dumps, data)]


def _take_each(
    lines: Sequence[bytes], first: int, signatures: Signatures, group: Group, told: int
) -> None:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            item, key, refusal = _check(line, signatures)
        except BatchlineError as error:
            in_full = told + len(group.rejected) < UPLOAD_MAX_EXPLAINED_LINES
            group.rejected.append((number, rejection(error, in_full=in_full)))
        else:
            if refusal:
                group.refused[len(group.numbers)] = refusal
            group.add([number], [item.data], [item.model], [item.custom_id], [key])


def _check(
    line: bytes, signatures: Signatures
) -> tuple[NewItem, Key | None, BatchlineError | None]:
    """Return the item of a line with its key, and why it is stored only if its key is known.

    Raises:
        BatchlineError: the line is invalid, whatever is known.
    """
    if len(line) > MAX_BODY_BYTES:
        raise LineTooLarge(
            f"the line has more than {MAX_BODY_BYTES} bytes, which is the limit",
            hint="send its rows in several lines",
        )
    body, reason = parse(line)
    key = body.pop("idempotency_key", None) if isinstance(body, dict) else None
    try:
        item = to_item(body, reason, signatures)
    except REFUSALS as refusal:
        sent = None if key is None else as_sent(body, reason)
        if sent is None:
            raise
        return sent, _to_key(key, sent), refusal
    return item, _to_key(key, item), None


def _to_key(key: Any, item: NewItem) -> Key | None:
    if not isinstance(key, str | None):
        raise InvalidIdempotencyKey(
            f"idempotency_key must be a string, got {kind_of(key)}",
            hint="send a string, or leave idempotency_key out",
        )
    return to_key(key, item)


def rejection(error: BatchlineError, *, in_full: bool = True) -> Rejection:
    """Return an error for a line of the response: a problem without the members for HTTP."""
    if not in_full:
        return {"code": error.code}
    told: Rejection = {"code": error.code, "detail": error.detail}
    if error.public_hint:
        told["hint"] = error.public_hint
    if isinstance(error, InvalidData):
        told["errors"] = [fault.to_json() for fault in error.faults]
    return told


def id_ranges(lines: Sequence[int], ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield ranges of lines with their ids. In each range, the ids grow in even steps.

    The ids of one statement have no gaps, except on PostgreSQL if another client took an id in
    between. Their step is the server's `auto_increment_increment`.
    """
    step = min((after - before for before, after in pairwise(ids) if after > before), default=1)
    if _grow(lines, 1) and _grow(ids, step):  # nearly always
        runs: Iterable[Sequence[tuple[int, int]]] = [[(lines[0], ids[0]), (lines[-1], ids[-1])]]
    else:
        pairs = list(zip(lines, ids, strict=True))
        runs = _runs(pairs, lambda one, next_: next_ == (one[0] + 1, one[1] + step))
    for run in runs:
        told = {"lines": [run[0][0], run[-1][0]], "ids": [run[0][1], run[-1][1]]}
        yield told if step == 1 or len(run) == 1 else told | {"step": step}


def _grow(numbers: Sequence[int], step: int) -> bool:
    if not numbers:
        return False
    return numbers == list(range(numbers[0], numbers[0] + step * len(numbers), step))


def rejections(rejected: Sequence[tuple[int, Rejection]]) -> Iterator[dict[str, Any]]:
    """Yield rejected lines with their errors. Adjacent lines with the same error share a range."""
    for run in _runs(rejected, lambda one, next_: next_ == (one[0] + 1, one[1])):
        yield {"lines": [run[0][0], run[-1][0]], "error": run[0][1]}


def _runs(things: Sequence[T], follow: Callable[[T, T], bool]) -> Iterator[Sequence[T]]:
    """Split a sequence at each element that does not follow its predecessor."""
    start = 0
    for end in range(1, len(things) + 1):
        if end == len(things) or not follow(things[end - 1], things[end]):
            yield things[start:end]
            start = end
