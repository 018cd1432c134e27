"""Many requests, one transaction.

Requests put their rows together; one thread stores them with one multi-row INSERT and one COMMIT,
and only then are they answered. What waits to be stored is bounded in number and in bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchline.api.groups import Bounds, Groups
from batchline.api.request_body import Checked
from batchline.constants import (
    INTAKE_GROUP_BYTES,
    INTAKE_GROUP_ITEMS,
    INTAKE_MAX_BYTES,
    INTAKE_MAX_ITEMS,
    REQUEST_TIMEOUT,
)
from batchline.db.cruds import idempotency, items
from batchline.db.cruds.idempotency import Key
from batchline.db.database import Database
from batchline.errors import CommitUnknown, IdempotencyKeyReused, IntakeFull

Answer = int | IdempotencyKeyReused


@dataclass(slots=True)
class Registration:
    """What one request asks for."""

    item: Checked
    key: Key | None


class Intake:
    """Registers items for the coroutines of one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        bounds = Bounds(INTAKE_GROUP_ITEMS, INTAKE_GROUP_BYTES)
        self._groups = Groups[Registration, int]("intake", self._store, bounds, _not_confirmed)

    async def register(self, item: Checked, key: Key | None = None) -> int:
        """Store one item; its id, once it is committed. A key that is known gives its item's id.

        Raises:
            IdempotencyKeyReused: the key is known, but came with other data.
            IntakeFull: too much is waiting already.
            CommitUnknown: it may be stored, now or later.
            DatabaseUnavailable: nothing was stored.
        """
        if self._is_full():
            raise IntakeFull("the intake is full", hint="send it again in a moment")
        return await self._groups.ask(Registration(item, key), len(item.data))

    async def close(self) -> None:
        """Store what waits, and end the writer."""
        await self._groups.close()

    def _is_full(self) -> bool:
        groups = self._groups
        full = groups.count >= INTAKE_MAX_ITEMS or groups.bytes >= INTAKE_MAX_BYTES
        return groups.closing or full

    def _store(self, group: list[Registration]) -> Sequence[Answer]:
        data, models = [each.item.data for each in group], [each.item.model for each in group]
        keys = [each.key for each in group]
        return self._database.transaction(lambda c: store(c, data, models, keys))


def store(
    connection: Connection,
    data: Sequence[str],
    models: Sequence[str],
    keys: Sequence[Key | None],
) -> Sequence[Answer]:
    """The id, or the refusal, for each registration; keys are stored with their items.

    Raises:
        IntegrityError: another transaction was faster with one of the keys; try again.
    """
    if not any(keys):
        return items.register(connection, data, models)
    known = idempotency.find_items(connection, [key.key for key in keys if key])
    # What becomes an item: each registration without a key, and the first with each new key.
    slots = [key.key if key else str(place) for place, key in enumerate(keys)]
    new: dict[str, int] = {}
    for place, slot in enumerate(slots):
        if slot not in known:
            new.setdefault(slot, place)
    ids = items.register(
        connection,
        [data[place] for place in new.values()],
        [models[place] for place in new.values()],
    )
    stored = [(slot, keys[new[slot]], item_id) for slot, item_id in zip(new, ids, strict=True)]
    idempotency.store(connection, [(key, item_id) for _, key, item_id in stored if key])
    known |= {slot: (key.data if key else "", item_id) for slot, key, item_id in stored}
    return [_answer_to(key, *known[slot]) for slot, key in zip(slots, keys, strict=True)]


def _answer_to(key: Key | None, data: str, item_id: int) -> Answer:
    if key is None or key.data == data:
        return item_id
    return IdempotencyKeyReused(
        f"this Idempotency-Key came before, with other data, as item {item_id}",
        hint="use a new key for each new request",
    )


def _not_confirmed() -> CommitUnknown:
    return CommitUnknown(
        f"the database has not confirmed the COMMIT for {REQUEST_TIMEOUT} seconds",
        hint="is the server hanging, or its disk?",
    )
