"""Databases that have Batchline's tables without the time that their migrations take."""

import shutil
from pathlib import Path

from sqlalchemy.engine import make_url

import devservers
from batchline.db.database import Database
from batchline.db.migrations import upgrade


class Template:
    """A database that is migrated once, and of which SQLite and PostgreSQL make copies."""

    def __init__(self, kind: str, url: str) -> None:
        self._kind, self._url = kind, url
        if self.can_be_copied:
            migrate(url)

    @property
    def can_be_copied(self) -> bool:
        return self._kind in ("sqlite", "postgresql")

    def copy_to(self, url: str, server: devservers.Server | None) -> None:
        """Replace an empty database by one with Batchline's tables."""
        if not self.can_be_copied:
            migrate(url)
        elif server is None:
            shutil.copy(file_of(self._url), file_of(url))
        else:
            server.drop_database(url)
            name, template = (make_url(each).database for each in (url, self._url))
            server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()


def file_of(url: str) -> Path:
    return Path(str(make_url(url).database))
