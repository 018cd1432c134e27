"""Rows as clients read them: the view `results`, and an index with the lanes; claims have a lane.

Revision: 0004, after 0003. API processes and jobs of 0003 work on this schema, but an index that
they use is gone, so with many items they are slower. Their claims have no lane and cover all lanes.

The indexes are not built here: PostgreSQL cannot build an index in a transaction without blocking
writers. See `batchline.db.migrations.indexes`.
"""

import sqlalchemy as sa
from alembic import op

from batchline.db.migrations import results_view

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns("claims")}
    if "lane" not in existing:
        op.add_column("claims", sa.Column("lane", sa.SmallInteger, nullable=True))
    results_view.create(op.get_bind())


def downgrade() -> None:
    op.execute("DROP VIEW results")
    op.drop_column("claims", "lane")
    op.create_index("items_status_id", "items", ["status", "id"])
    for name in ("status_lane_id", "created_at_id", "model_id", "custom_id"):
        op.drop_index(f"items_{name}", "items")
    op.drop_index("failures_code_item_id", "failures")
