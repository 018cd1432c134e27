"""Rows as clients read them: the view `results`, and an index with the lanes; claims have a lane.

Revision: 0004, after 0003. API processes and jobs of 0003 work on this schema, but an index that
they use is gone, so with many items they are slower. Their claims have no lane and cover all lanes.

The indexes are not built here: PostgreSQL cannot build an index in a transaction without blocking
writers. See `batchline.db.migrations.indexes`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BETTER = """
SELECT 1 FROM {table} other
LEFT JOIN models theirs ON theirs.id = other.model_id
LEFT JOIN models ours ON ours.id = {table}.model_id
WHERE other.item_id = {table}.item_id AND other.model_id <> {table}.model_id AND (
    CASE WHEN theirs.active THEN 1 ELSE 0 END > CASE WHEN ours.active THEN 1 ELSE 0 END
    OR CASE WHEN theirs.active THEN 1 ELSE 0 END = CASE WHEN ours.active THEN 1 ELSE 0 END
    AND other.model_id > {table}.model_id
)
"""
"""The active version's result counts, else the newest version's. Most items have one result, so this
is one probe of an index. A window function would read the whole table for one item."""

RESULTS = f"""
SELECT
    items.id,
    items.custom_id,
    items.model,
    models.version,
    items.status,
    predictions.label,
    predictions.prediction,
    failures.code AS error_code,
    failures.detail AS error_detail,
    items.created_at,
    COALESCE(predictions.created_at, failures.created_at) AS finished_at
FROM items
LEFT JOIN predictions ON items.status = 'succeeded' AND predictions.item_id = items.id
    AND NOT EXISTS ({BETTER.format(table="predictions")})
LEFT JOIN failures ON items.status = 'failed' AND failures.item_id = items.id
    AND NOT EXISTS ({BETTER.format(table="failures")})
LEFT JOIN models ON models.id = COALESCE(predictions.model_id, failures.model_id)
"""  # noqa: S608, ours


def upgrade() -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns("claims")}
    if "lane" not in existing:
        op.add_column("claims", sa.Column("lane", sa.SmallInteger, nullable=True))
    op.execute(f"{_create_view()} {RESULTS}")


def _create_view() -> str:
    """Return the beginning of a statement for a view that has the rights of its reader."""
    dialect = op.get_bind().dialect
    if dialect.name == "sqlite":
        return "CREATE VIEW IF NOT EXISTS results AS"
    if dialect.name in ("mysql", "mariadb"):
        return "CREATE OR REPLACE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW results AS"
    option = (
        " WITH (security_invoker = true)" if (dialect.server_version_info or ()) >= (15,) else ""
    )
    return f"CREATE OR REPLACE VIEW results{option} AS"


def downgrade() -> None:
    op.execute("DROP VIEW results")
    op.drop_column("claims", "lane")
    op.create_index("items_status_id", "items", ["status", "id"])
    for name in ("status_lane_id", "created_at_id", "model_id", "custom_id"):
        op.drop_index(f"items_{name}", "items")
    op.drop_index("failures_code_item_id", "failures")
