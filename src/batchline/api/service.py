"""What the endpoints share: the database, the intake, and the signatures to check rows with."""

import asyncio
import time

import orjson

from batchline.api.bulk import Bulk
from batchline.api.intake import Intake
from batchline.api.lookups import Lookups
from batchline.api.request_body import Bodies, Checked, Signatures, check_data
from batchline.constants import SIGNATURE_LIFETIME, UNKNOWN_MODEL_LIFETIME
from batchline.db.cruds import schema, versions
from batchline.db.database import Database
from batchline.db.models import Record
from batchline.errors import NoModel, SchemaOutdated, Unavailable, UnknownModel
from batchline.ml.signature import Signature


class Service:
    """Belongs to one event loop; made when it starts, closed when it ends."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.intake = Intake(database)
        self.lookups = Lookups(database)
        self.bodies = Bodies()
        self.bulk = Bulk(database)
        self._signatures: Signatures | None = None
        self._parsed: dict[int, Signature] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def checked(self, body: bytes) -> Checked:
        """The item that the body of a request asks for.

        A model that is not known may have been added a moment ago: then it is looked up.

        Raises:
            BatchlineError: the body asks for none that can be stored.
        """
        try:
            return await check_data(body, await self.signatures())
        except (UnknownModel, NoModel):
            return await check_data(body, await self.signatures(UNKNOWN_MODEL_LIFETIME))

    async def signatures(self, lifetime: float = SIGNATURE_LIFETIME) -> Signatures:
        """The signatures of the active versions, as of at most `lifetime` seconds ago.

        Raises:
            Unavailable: the database does not answer, and never did since the start.
        """
        if not self._is_fresh(lifetime):
            async with self._reading:
                if not self._is_fresh(lifetime):
                    await self._refresh()
        assert self._signatures is not None
        return self._signatures

    def must_be_ready(self) -> None:
        """Whether requests can be served.

        Raises:
            Unavailable: the database does not answer, or is of another version of Batchline.
        """
        with self.database.read() as connection:
            if not schema.is_current(connection):
                raise SchemaOutdated("the schema is not current", hint="run `batchline db upgrade`")

    async def close(self) -> None:
        """Store and read what waits, then let go of the database."""
        await self.bulk.close()
        await self.intake.close()
        await self.lookups.close()
        self.database.close()

    def _is_fresh(self, lifetime: float) -> bool:
        return self._signatures is not None and time.monotonic() - self._read_at < lifetime

    async def _refresh(self) -> None:
        try:
            self._signatures = await asyncio.to_thread(self._read_signatures)
        except Unavailable:
            if self._signatures is None:
                raise
            # The last ones known will do; whether rows can be stored is the intake's matter. Asked
            # again only after a while: each who asks may have to wait.
        self._read_at = time.monotonic()

    def _read_signatures(self) -> Signatures:
        with self.database.read() as connection:
            ids = versions.active_ids(connection)
            for model_id in ids.values():
                if model_id not in self._parsed:  # a version never changes
                    self._parsed[model_id] = _parse(versions.get_version(connection, model_id))
        return Signatures({name: self._parsed[model_id] for name, model_id in ids.items()})


def _parse(record: Record) -> Signature:
    return Signature.from_json(orjson.loads(record.signature))
