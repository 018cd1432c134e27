"""The signatures of the active versions, read again when they are too old."""

import asyncio
import time
from collections.abc import Mapping
from itertools import islice

from batchline.constants import (
    DEFAULT_MODEL,
    MAX_REPORTED_FAULTS,
    SIGNATURE_LIFETIME,
)
from batchline.db.database import Database
from batchline.errors import NoModel, Unavailable, UnknownModel
from batchline.ml.signature import Signature
from batchline.registry.version import KnownVersions


class Signatures:
    """The signatures of the active versions at one moment, by the name of the model."""

    def __init__(self, by_name: Mapping[str, Signature]) -> None:
        self._by_name = by_name

    def of(self, name: str) -> Signature:
        """Return the signature of a model.

        Raises:
            NoModel: the default model has not been added yet.
            UnknownModel: no model has this name.
        """
        if name in self._by_name:
            return self._by_name[name]
        if name == DEFAULT_MODEL:
            raise NoModel("no model has been added", hint=NoModel.advice)
        known = ", ".join(islice(sorted(self._by_name), MAX_REPORTED_FAULTS))
        hint = (
            f"use one of these models: {known}" if known else "run `batchline models add NAME FILE`"
        )
        raise UnknownModel(f"no model has the name {name[:80]!r}", hint=hint)


class SignatureReader:
    """Reads the signatures for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._versions = KnownVersions(database)
        self._latest: Signatures | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def latest(self, lifetime: float = SIGNATURE_LIFETIME) -> Signatures:
        """Return the signatures of the active versions, read at most `lifetime` seconds ago.

        Raises:
            Unavailable: the database does not respond, and no signatures have been read yet.
        """
        if not self._is_fresh(lifetime):
            async with self._reading:
                if not self._is_fresh(lifetime):
                    await self._refresh()
        assert self._latest is not None
        return self._latest

    def _is_fresh(self, lifetime: float) -> bool:
        return self._latest is not None and time.monotonic() - self._read_at < lifetime

    async def _refresh(self) -> None:
        try:
            active = await asyncio.to_thread(self._versions.active)
            self._latest = Signatures({name: each.signature for name, each in active.items()})
        except Unavailable:
            if self._latest is None:
                raise
            # The last known signatures serve to check rows. The write queue finds out whether it
            # can store them. `_read_at` is set now, since each attempt may have to wait.
        self._read_at = time.monotonic()
