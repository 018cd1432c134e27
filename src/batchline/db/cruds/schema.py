"""The version of the database schema."""

from sqlalchemy import (
    Connection,
)

from batchline.constants import (
    SCHEMA_REVISION,
)


def is_current(connection: Connection) -> bool:
    """Whether the newest migration has been run here."""
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return SCHEMA_REVISION in found
