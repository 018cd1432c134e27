"""Alembic's entry: runs the migrations on the connection that `upgrade` hands over."""

from alembic import context

from batchline.db.cruds.schema import VERSION_TABLE
from batchline.db.models import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # MySQL and MariaDB commit at each DDL statement anyway; where DDL can be rolled back, a
    # migration that is cut short leaves nothing behind.
    transactional_ddl=connection.dialect.name in ("sqlite", "postgresql"),
)
with context.begin_transaction():
    context.run_migrations()
