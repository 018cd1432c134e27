"""Items have the span of the request that registered them.

Revision: 0006, after 0005. API processes and jobs of 0005 work on this schema.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns("items")}
    if "traceparent" not in existing:
        op.add_column("items", sa.Column("traceparent", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("items", "traceparent")
