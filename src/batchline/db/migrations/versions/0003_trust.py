"""Trust in a prediction: one active version, the label, and where a run took place.

It also adds the columns of `items` for custom ids, lanes, keys, request ids and batches.

Revision: 0003, after 0002. API processes and jobs of 0002 work on this schema. Its `models add` and
`models activate`, and its start with another MODEL_FILEPATH, may fail: they write FALSE for each
version that is not active, and the index `models_active` allows one FALSE of a name. They store
nothing then.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from batchline.db.dialects.types import TABLE_OPTIONS, CustomId, Json, UtcDateTime, utc_now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


# Each step can be repeated: if DDL cannot be rolled back, the next start finishes what a killed
# migration began.
def _column(table: str, column: sa.Column[Any]) -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in existing:
        op.add_column(table, column)


def upgrade() -> None:
    for column in (
        sa.Column("custom_id", CustomId, nullable=True),
        sa.Column("lane", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("key_id", sa.Integer, nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("batch_id", sa.Integer, nullable=True),
    ):
        _column("items", column)
    _column("predictions", sa.Column("label", Json, nullable=True))
    _column("runs", sa.Column("runtime", sa.String(255), nullable=True))
    _column("runs", sa.Column("processor", sa.String(255), nullable=True))
    _column("models", sa.Column("options", Json, nullable=True))
    _column("models", sa.Column("removed_at", UtcDateTime, nullable=True))
    _fill_options()
    _one_active_version()
    op.create_table(
        "batchline_migrations",
        sa.Column("revision", sa.String(64), primary_key=True),
        sa.Column("oldest_code", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )


def _fill_options() -> None:
    """The options of a version in one column, so that more of them need no more columns."""
    models = sa.table(
        "models",
        sa.column("id", sa.Integer),
        sa.column("label_file", Json),
        sa.column("allow_non_finite", sa.Boolean),
        sa.column("options", Json),
    )
    connection = op.get_bind()
    rows = connection.execute(sa.select(models).where(models.c.options.is_(None))).all()
    for row in rows:
        labels = None if row.label_file is None else json.loads(row.label_file)
        options = {"allow_non_finite": bool(row.allow_non_finite), "labels": labels}
        given = {name: value for name, value in options.items() if value}
        text = json.dumps(given, sort_keys=True)
        connection.execute(sa.update(models).where(models.c.id == row.id).values(options=text))


def _one_active_version() -> None:
    """`active` becomes TRUE or NULL, so that a unique index allows one active version of a name."""
    inspector = sa.inspect(op.get_bind())
    existing = {index["name"] for index in inspector.get_indexes("models")}
    if "models_active" in existing:
        return
    _set_nullable("active", nullable=True)
    # Of several active versions, which a race could leave, the newest stays active.
    op.execute(
        "UPDATE models SET active = NULL WHERE id NOT IN (SELECT id FROM (SELECT MAX(id) AS id"
        " FROM models WHERE active GROUP BY name) newest)"
    )
    op.create_index("models_active", "models", ["name", "active"], unique=True)


def _set_nullable(column: str, *, nullable: bool) -> None:
    # SQLite cannot alter a column, so Alembic copies the table, whose ids must stay unique.
    keep_ids = {"sqlite_autoincrement": True}
    with op.batch_alter_table("models", table_kwargs=keep_ids) as batch:
        batch.alter_column(column, existing_type=sa.Boolean(), nullable=nullable)


def downgrade() -> None:
    op.drop_table("batchline_migrations")
    op.drop_index("models_active", "models")
    op.execute("UPDATE models SET active = FALSE WHERE active IS NULL")
    _set_nullable("active", nullable=False)
    op.drop_column("models", "removed_at")
    op.drop_column("models", "options")
    op.drop_column("runs", "processor")
    op.drop_column("runs", "runtime")
    op.drop_column("predictions", "label")
    for name in ("batch_id", "request_id", "key_id", "lane", "custom_id"):
        op.drop_column("items", name)
