"""API keys and audit entries as each database stores them."""

import pytest
from sqlalchemy import Connection

from batchline import api_keys
from batchline.api_keys import Role
from batchline.db.cruds import audit, keys
from batchline.db.database import Database
from batchline.errors import Conflict

pytestmark = pytest.mark.every_server


def create(database: Database, name: str, key: str, role: Role = Role.WRITE) -> int:
    sha256 = api_keys.digest(key)
    return database.transaction(lambda c: keys.create(c, name, role, sha256, rate=2.5))


def test_a_key_is_read_as_it_was_stored_until_it_is_revoked(database: Database) -> None:
    key = api_keys.generate()
    key_id = create(database, "shop", key)
    with database.read() as connection:
        (stored,) = keys.read(connection)
    assert (stored.id, stored.name, stored.role) == (key_id, "shop", Role.WRITE)
    assert (stored.sha256, stored.rate) == (api_keys.digest(key), 2.5)
    assert (stored.items_per_day, stored.last_used_at, stored.revoked_at) == (None, None, None)
    assert database.transaction(lambda c: keys.revoke(c, "shop", "cli:me@here"))
    with database.read() as connection:
        assert keys.read(connection)[0].revoked_at is not None
        assert keys.exist(connection)
    assert not database.transaction(lambda c: keys.revoke(c, "shop", "cli:me@here"))
    assert not database.transaction(lambda c: keys.revoke(c, "nobody", "cli:me@here"))


def test_two_keys_have_neither_the_same_name_nor_the_same_secret(database: Database) -> None:
    key = api_keys.generate()
    create(database, "shop", key)
    with pytest.raises(Conflict):
        create(database, "shop", api_keys.generate())
    with pytest.raises(Conflict):
        create(database, "other", key)
    create(database, "Shop", api_keys.generate())  # names are compared exactly


def test_a_key_with_an_unknown_role_is_no_key(database: Database) -> None:
    create(database, "shop", api_keys.generate())
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET role = 'owner'")
    with database.read() as connection:
        assert keys.read(connection) == []
        assert keys.exist(connection)


def test_an_audit_entry_is_stored_with_the_change_or_not_at_all(database: Database) -> None:
    def fail(connection: Connection) -> None:
        audit.record(connection, "cli:me@here", "keys.create", "lost")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.transaction(fail)
    with database.write() as connection:
        audit.record(connection, "cli:" + "x" * 300, "keys.create", "shop", {"role": "write"})
        audit.record(connection, "cli:me@here", "keys.revoke", "shop")
    with database.read() as connection:
        revoked, created = audit.newest(connection, 10)
        assert audit.newest(connection, 1) == [revoked]
    assert (revoked.action, revoked.subject, revoked.detail) == ("keys.revoke", "shop", None)
    assert (created.actor, created.detail) == ("cli:" + "x" * 251, '{"role":"write"}')
