"""The objects that the endpoints share while the application runs."""

import asyncio

from starlette.types import Scope

from batchline import metrics
from batchline.api.bodies import BodyReader
from batchline.api.item_reader import ItemReader
from batchline.api.keys import key_of
from batchline.api.quotas import Owner
from batchline.api.requests import NewItem, as_sent, check_body, parse, to_key
from batchline.api.shared_state import SharedState
from batchline.api.signatures import SignatureReader
from batchline.api.store_health import StoreHealth
from batchline.api.uploads import UploadPool
from batchline.api.write_queue import WriteQueue
from batchline.constants import UNKNOWN_MODEL_LIFETIME
from batchline.db.cruds import idempotency, schema
from batchline.db.cruds.idempotency import KnownId
from batchline.db.cruds.keys import ApiKey
from batchline.db.database import Database
from batchline.db.new_items import Key
from batchline.errors import BatchlineError, CommitUnknown, NoModel, UnknownModel
from batchline.request_ids import Origin


class ApiState(SharedState):
    """Belongs to one event loop. The application creates and closes it."""

    def __init__(self, database: Database, late_after: float) -> None:
        super().__init__(database, late_after, metrics.OF_API)
        self.store_health = StoreHealth(outages=database.outages)
        self.write_queue = WriteQueue(database, self.store_health)
        self.item_reader = ItemReader(database)
        self.bodies = BodyReader()
        self.uploads = UploadPool(database, self.store_health, self.failures)
        self.signatures = SignatureReader(database)

    async def check(self, body: bytes) -> NewItem:
        """Return the item that a request body asks for.

        If the model is unknown, read the models again, since it may have been added a moment ago.

        Raises:
            BatchlineError: the body is invalid, or the signatures cannot be read.
        """
        try:
            return await check_body(body, await self.signatures.latest())
        except (UnknownModel, NoModel):
            return await check_body(body, await self.signatures.latest(UNKNOWN_MODEL_LIFETIME))

    def owner_of(self, scope: Scope) -> Owner | None:
        """Return for whom a request registers items. Without an API key this is unknown."""
        api_key = key_of(scope)
        return None if api_key is None else Owner(api_key, self.quotas, self.keys.find)

    async def register(
        self, item: NewItem, key: Key | None, api_key: ApiKey | None, origin: Origin
    ) -> int:
        """Store an item and return its id, or the id that the idempotency key has registered.

        The latter counts nothing, so that a client always learns the id of what it has stored.

        Raises:
            QuotaExceeded: the API key has registered its number of items for today.
            BatchlineError: see `WriteQueue.register`.
        """
        if api_key is None or api_key.items_per_day is None:
            api_key_id = None if api_key is None else api_key.id
            return await self.write_queue.register(item, key, api_key_id, origin)
        today = self.quotas.today()
        taken = self.quotas.take(api_key, 1)
        exceeded = None if taken else self.quotas.exceeded(api_key)
        if exceeded is not None and key is None:
            raise exceeded
        try:
            # The queue looks the key up behind a request with the same key that is in progress.
            item_id = await self.write_queue.register(item, key, api_key.id, origin, exceeded)
        except BatchlineError as error:
            if not isinstance(error, CommitUnknown):
                self.quotas.give_back(api_key, taken, today)
            raise
        if isinstance(item_id, KnownId):
            self.quotas.give_back(api_key, taken, today)
        return item_id

    async def find(self, key: str, body: bytes, api_key: ApiKey | None) -> int | None:
        """Return the id that these keys and this body registered, or None.

        Raises:
            InvalidIdempotencyKey: no request can have this key.
            DatabaseUnavailable: the database does not respond.
        """
        return await asyncio.to_thread(self._find, key, body, api_key)

    def _find(self, key: str, body: bytes, api_key: ApiKey | None) -> int | None:
        item = as_sent(*parse(body))
        known = None if item is None else to_key(key, item)
        if known is None:
            return None
        with self.database.read() as connection:
            return idempotency.find(
                connection, known.owned_by(None if api_key is None else api_key.id)
            )

    async def check_ready(self) -> None:
        """Check that requests can be served. This does not wait for the threads that read pages.

        Raises:
            Unavailable: the database does not respond, its schema does not fit this version, or it
                has lately rejected what was to be stored.
        """
        await asyncio.to_thread(self._check_schema)
        self.store_health.check()

    def _check_schema(self) -> None:
        with self.database.read() as connection:
            schema.check(connection)

    async def close(self) -> None:
        """Finish the queued requests, then close the database."""
        await self.uploads.close()
        await self.write_queue.close()
        await self.item_reader.close()
        await super().close()
