"""Items that are about to be stored, by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Self

from batchline.constants import DEFAULT_MODEL, SINGLE_LANE
from batchline.errors import BatchlineError


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and its request, both as SHA-256, so that any key fits any collation."""

    key: str
    data: str

    def owned_by(self, api_key_id: int | None) -> "Key":
        """Return what is stored of it, so that each API key has idempotency keys of its own."""
        if api_key_id is None:
            return self
        return Key(sha256(f"{api_key_id} {self.key}".encode()).hexdigest(), self.data)


@dataclass(frozen=True, slots=True)
class NewItems:
    """New items: one entry of each column per item, or an empty column if all have its default.

    `refused` are items that may not be stored now, by their place. If their key is known, they have
    an id all the same.

    `data` are JSON texts. To create an object per item would cost as much as to check its rows.
    """

    data: Sequence[str]
    models: Sequence[str] = ()
    custom_ids: Sequence[str | None] = ()
    keys: Sequence[Key | None] = ()
    api_key_ids: Sequence[int | None] = ()
    request_ids: Sequence[str | None] = ()
    traceparents: Sequence[str | None] = ()
    refused: Mapping[int, BatchlineError] = field(default_factory=dict)
    lane: int = SINGLE_LANE

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the columns to insert: `data`, which is the last, and those that differ from
        their defaults."""
        columns: dict[str, Sequence[Any]] = {}
        if self.lane != SINGLE_LANE:
            columns["lane"] = [self.lane] * len(self.data)
        if any(self.api_key_ids):
            columns["key_id"] = self.api_key_ids
        if any(self.request_ids):
            columns["request_id"] = self.request_ids
        if any(self.traceparents):
            columns["traceparent"] = self.traceparents
        if any(self.custom_ids):
            columns["custom_id"] = self.custom_ids
        if not set(self.models) <= {DEFAULT_MODEL}:
            columns["model"] = self.models
        return {**columns, "data": self.data}

    def at(self, places: Sequence[int]) -> Self:
        """Return the items at these places, without keys."""
        return replace(
            self,
            data=[self.data[place] for place in places],
            models=[self.models[place] for place in places] if self.models else (),
            custom_ids=[self.custom_ids[place] for place in places] if self.custom_ids else (),
            keys=(),
            api_key_ids=[self.api_key_ids[place] for place in places] if self.api_key_ids else (),
            request_ids=[self.request_ids[place] for place in places] if self.request_ids else (),
            traceparents=[self.traceparents[p] for p in places] if self.traceparents else (),
            refused={},
        )
