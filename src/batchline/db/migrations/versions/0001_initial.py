"""The first tables.

Revision: 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op

from batchline.db.dialects.types import TABLE_OPTIONS, Id, Json, StatusWord, UtcDateTime, utc_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _created_at(name: str = "created_at") -> sa.Column[object]:
    return sa.Column(name, UtcDateTime, nullable=False, server_default=utc_now())


# Each step can be repeated: where DDL cannot be rolled back, the next start finishes what a killed
# one began.
def _table(name: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(name, *parts, if_not_exists=True, **TABLE_OPTIONS)


def _index(name: str, table: str, columns: list[str]) -> None:
    # MySQL, which commits at each DDL statement, has no CREATE INDEX IF NOT EXISTS.
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    if name not in existing:
        op.create_index(name, table, columns)


def upgrade() -> None:
    _items_and_predictions()
    _idempotency_keys()
    _models()
    _claims_and_runs()


def _items_and_predictions() -> None:
    _table(
        "items",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("data", Json, nullable=False),
        sa.Column("status", StatusWord, nullable=False, server_default=sa.text("'pending'")),
        _created_at(),
    )
    _index("items_status_id", "items", ["status", "id"])
    _table(
        "predictions",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("item_id", Id, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("prediction", Json, nullable=False),
        _created_at(),
        sa.UniqueConstraint("item_id", "model_id", name="predictions_item_model"),
    )
    _table(
        "failures",
        sa.Column("item_id", Id, primary_key=True, autoincrement=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        _created_at(),
    )


def _idempotency_keys() -> None:
    _table(
        "idempotency_keys",
        sa.Column("key_sha256", sa.String(64), primary_key=True),
        sa.Column("data_sha256", sa.String(64), nullable=False),
        sa.Column("item_id", Id, nullable=False),
        _created_at(),
    )


def _models() -> None:
    _table(
        "models",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("signature", Json, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        _created_at(),
        sa.UniqueConstraint("name", "version", name="models_name_version"),
    )


def _claims_and_runs() -> None:
    _table(
        "claims",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("suspect", sa.Boolean, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("first_id", Id, nullable=False),
        sa.Column("last_id", Id, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        _created_at(),
        sa.CheckConstraint("first_id <= last_id", name="claims_range"),
    )
    _table("gate", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
    op.execute("INSERT INTO gate SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM gate)")
    _table(
        "runs",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.String(64), nullable=False),
        _created_at("started_at"),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("items_succeeded", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("items_failed", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("rows_per_second", sa.Double, nullable=True),
    )


def downgrade() -> None:
    for name in ("runs", "gate", "claims", "models", "idempotency_keys"):
        op.drop_table(name)
    for name in ("failures", "predictions", "items"):
        op.drop_table(name)
