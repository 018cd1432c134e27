"""What the endpoints share: the database, the intake, and the signature to check rows with."""

import asyncio
import time

from batchline.api.bulk import Bulk
from batchline.api.intake import Intake
from batchline.api.lookups import Lookups
from batchline.api.request_body import Bodies
from batchline.constants import DEFAULT_MODEL, SIGNATURE_LIFETIME
from batchline.db import cruds
from batchline.db.database import Database
from batchline.errors import NoModel, Unavailable
from batchline.ml.signature import Signature


class Service:
    """Belongs to one event loop; made when it starts, closed when it ends."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.intake = Intake(database)
        self.lookups = Lookups(database)
        self.bodies = Bodies()
        self.bulk = Bulk(database)
        self._signature: Signature | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def signature(self) -> Signature:
        """The active model's signature, as of at most `SIGNATURE_LIFETIME` seconds ago.

        Raises:
            NoModel: no job has published one yet.
            Unavailable: the database does not answer, and never did since the start.
        """
        if self._is_fresh():
            return self._known()
        async with self._reading:
            if not self._is_fresh():
                await self._refresh()
        return self._known()

    async def close(self) -> None:
        """Store and read what waits, then let go of the database."""
        await self.bulk.close()
        await self.intake.close()
        await self.lookups.close()
        self.database.close()

    def _is_fresh(self) -> bool:
        known = self._signature is not None
        return known and time.monotonic() - self._read_at < SIGNATURE_LIFETIME

    def _known(self) -> Signature:
        if self._signature is None:
            raise NoModel("no model has been published", hint="start `batchline job`")
        return self._signature

    async def _refresh(self) -> None:
        try:
            stored = await asyncio.to_thread(self._read_signature)
        except Unavailable:
            if self._signature is None:
                raise
            # The last one known will do; whether rows can be stored is the intake's matter. Asked
            # again only after a while: each who asks may have to wait.
            self._read_at = time.monotonic()
            return
        self._signature = None if stored is None else Signature.from_json(stored)
        self._read_at = time.monotonic()

    def _read_signature(self) -> dict[str, object] | None:
        with self.database.read() as connection:
            return cruds.active_signature(connection, DEFAULT_MODEL)
