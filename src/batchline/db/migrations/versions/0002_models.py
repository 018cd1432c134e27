"""Models as data: their files, what was found out about them, and which model an item is for.

Revision: 0002, after 0001.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from batchline.db.dialects.types import (
    TABLE_OPTIONS,
    Blob,
    Id,
    Json,
    Name,
    StatusWord,
    UtcDateTime,
    utc_now,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# Each step can be repeated: where DDL cannot be rolled back, the next start finishes what a killed
# one began.
def _column(table: str, column: sa.Column[Any]) -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in existing:
        op.add_column(table, column)


def upgrade() -> None:
    _column("items", sa.Column("model", Name, nullable=False, server_default=sa.text("'default'")))
    for column in (
        sa.Column("label_file", Json, nullable=True),
        sa.Column("allow_non_finite", sa.Boolean, nullable=True),
        sa.Column("batching", Json, nullable=True),
        sa.Column("notes", Json, nullable=True),
        sa.Column("size", Id, nullable=True),
        sa.Column("location", sa.Text, nullable=True),
    ):
        _column("models", column)
    _rewrite_signatures()
    _name_models_exactly()
    _several_failures_of_an_item()
    _backfills()
    op.create_table(
        "model_files",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", Blob, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )


def _several_failures_of_an_item() -> None:
    """One for each version, as of predictions."""
    connection = op.get_bind()
    key = sa.inspect(connection).get_pk_constraint("failures")["constrained_columns"]
    if "model_id" in key:
        return
    if connection.dialect.name in ("mysql", "mariadb"):
        op.execute("ALTER TABLE failures DROP PRIMARY KEY, ADD PRIMARY KEY (item_id, model_id)")
    elif connection.dialect.name == "postgresql":
        op.drop_constraint("failures_pkey", "failures")
        op.create_primary_key("failures_pkey", "failures", ["item_id", "model_id"])
    else:
        op.rename_table("failures", "old_failures")
        _failures()
        op.execute("INSERT INTO failures SELECT * FROM old_failures")
        op.drop_table("old_failures")


def _failures() -> None:
    op.create_table(
        "failures",
        sa.Column("item_id", Id, primary_key=True, autoincrement=False),
        sa.Column("model_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        **TABLE_OPTIONS,
    )


def _backfills() -> None:
    _column("claims", sa.Column("backfill_id", sa.Integer, nullable=True))
    op.create_table(
        "backfills",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("model", Name, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("status", StatusWord, nullable=False),
        sa.Column("since", UtcDateTime, nullable=True),
        sa.Column("until", UtcDateTime, nullable=True),
        sa.Column("first_id", Id, nullable=False),
        sa.Column("last_id", Id, nullable=False),
        sa.Column("next_id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        if_not_exists=True,
        **TABLE_OPTIONS,
    )


def _rewrite_signatures() -> None:
    """The one input of 0001 becomes a list of inputs."""
    models = sa.table("models", sa.column("id", sa.Integer), sa.column("signature", Json))
    connection = op.get_bind()
    for model_id, text in connection.execute(sa.select(models.c.id, models.c.signature)).all():
        old = json.loads(text)
        if "inputs" in old:
            continue
        each = {"name": old["name"], "dtype": old["dtype"], "shape": old["shape"]}
        new = {"inputs": [each | {"per_item": False}], "outputs": [], "labels": old["labels"]}
        connection.execute(
            sa.update(models).where(models.c.id == model_id).values(signature=json.dumps(new))
        )


def _name_models_exactly() -> None:
    """On MySQL and MariaDB names would be the same whatever their case."""
    if op.get_bind().dialect.name in ("mysql", "mariadb"):
        op.alter_column("models", "name", type_=Name, existing_nullable=False)


def downgrade() -> None:
    op.drop_table("model_files")
    op.drop_table("backfills")
    op.drop_column("claims", "backfill_id")
    for name in ("label_file", "allow_non_finite", "batching", "notes", "size", "location"):
        op.drop_column("models", name)
    op.drop_column("items", "model")
