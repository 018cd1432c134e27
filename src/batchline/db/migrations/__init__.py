"""Alembic migrations, run by `batchline db upgrade` and by `batchline up`."""

from pathlib import Path

from batchline.constants import MIGRATION_TIMEOUT
from batchline.db.database import Database
from batchline.db.dialects.locks import migration_lock


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`; a schema that is there already stays as it is."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write(patience=MIGRATION_TIMEOUT) as connection, migration_lock(connection):
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
