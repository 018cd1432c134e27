"""The indexes, which are built after the migrations, while clients write.

Until they are complete, `batchline_migrations` does not have the new revision. So code that needs
the indexes does not start, and code of the previous revision goes on.
"""

from sqlalchemy import Connection

from batchline.db.dialects import indexes
from batchline.db.models import metadata

OBSOLETE = {"items_status_id": "items"}
"""Indexes of earlier revisions, and their tables."""


def complete(holder: Connection) -> None:
    """Build the indexes that are missing, then drop the obsolete ones. It can be repeated.

    Args:
        holder: the connection that has the migration lock.
    """
    with indexes.builder(holder) as connection:
        for table in metadata.sorted_tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                indexes.build(connection, index)
        for name, of_table in OBSOLETE.items():
            indexes.drop(connection, of_table, name)
