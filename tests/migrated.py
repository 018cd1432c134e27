"""Databases that have Batchline's tables without the time that their migrations take."""

import shutil
from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import make_url

import devservers
from batchline.db.database import Database
from batchline.db.migrations import upgrade


class Template:
    """A database that is migrated once, and of which there are copies."""

    def __init__(self, kind: str, url: str) -> None:
        self._kind, self._url = kind, url
        with closing(Database(url)) as database:
            upgrade(database)
            with database.read() as connection:
                mysql = kind in ("mysql", "mariadb")
                self._statements = [*statements(connection, name_of(url))] if mysql else []

    def copy_to(self, url: str, server: devservers.Server | None) -> None:
        """Replace an empty database by one with Batchline's tables."""
        if server is None:
            shutil.copy(name_of(self._url), name_of(url))
        elif self._kind == "postgresql":
            server.drop_database(url)
            server.manage(f"CREATE DATABASE {name_of(url)} TEMPLATE {name_of(self._url)}")
        else:
            self._execute_in(url)

    def _execute_in(self, url: str) -> None:
        with closing(Database(url)) as database, database.write() as connection:
            for statement in self._statements:
                plain(connection).exec_driver_sql(statement)


def name_of(url: str) -> str:
    """The name of a database, or the file of SQLite."""
    return str(make_url(url).database)


def statements(connection: Connection, name: str) -> Iterator[str]:
    """Return what makes the tables and views of a database, and their rows, in another one."""
    found = inspect(connection)
    for table in found.get_table_names():
        yield connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1]
        if connection.exec_driver_sql(f"SELECT 1 FROM `{table}`").first():
            yield f"INSERT INTO `{table}` SELECT * FROM `{name}`.`{table}`"
    for view in found.get_view_names():
        text = connection.exec_driver_sql(f"SHOW CREATE VIEW `{view}`").one()[1]
        yield text.replace(f"`{name}`.", "")


def plain(connection: Connection) -> Connection:
    """The connection, for statements in which a percent sign is one."""
    return connection.execution_options(no_parameters=True)
