"""The tables. SQL clients read and write them too, so names and meanings are a contract.

`items` and `predictions` are the contract's; `failures` holds the reason of each failed item,
`models` the published model versions with their signatures, `claims` who predicts which range of
ids until when, and `runs` what each run of the batch job did.
"""

from datetime import datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from batchline.db.dialects import TABLE_OPTIONS, Id, Json, StatusWord, UtcDateTime, utc_now


def created_at(name: str = "created_at") -> Column[datetime]:
    """When the row was inserted, by the database's clock, also for rows of other SQL clients."""
    return Column(name, UtcDateTime, nullable=False, server_default=utc_now())


metadata = MetaData()

Word = String(64)

items = Table(
    "items",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("data", Json, nullable=False),
    Column("status", StatusWord, nullable=False, server_default=text("'pending'")),
    created_at(),
    Index("items_status_id", "status", "id"),
    **TABLE_OPTIONS,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key_sha256", String(64), primary_key=True),
    Column("data_sha256", String(64), nullable=False),
    Column("item_id", Id, nullable=False),
    created_at(),
    **TABLE_OPTIONS,
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Word, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("signature", Json, nullable=False),
    Column("active", Boolean, nullable=False),
    created_at(),
    UniqueConstraint("name", "version", name="models_name_version"),
    **TABLE_OPTIONS,
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("item_id", Id, nullable=False),
    Column("model_id", Integer, nullable=False),
    Column("prediction", Json, nullable=False),
    created_at(),
    UniqueConstraint("item_id", "model_id", name="predictions_item_model"),
    **TABLE_OPTIONS,
)

failures = Table(
    "failures",
    metadata,
    Column("item_id", Id, primary_key=True, autoincrement=False),
    Column("model_id", Integer, nullable=False),
    Column("code", Word, nullable=False),
    Column("detail", Text, nullable=False),
    created_at(),
    **TABLE_OPTIONS,
)

claims = Table(
    "claims",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner", Word, nullable=True),  # null: a suspect that waits for somebody to take it
    Column("suspect", Boolean, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("first_id", Id, nullable=False),
    Column("last_id", Id, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    created_at(),
    CheckConstraint("first_id <= last_id", name="claims_range"),
    **TABLE_OPTIONS,
)

gate = Table(
    "gate",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    **TABLE_OPTIONS,
)

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner", Word, nullable=False),
    created_at("started_at"),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("items_succeeded", Integer, nullable=False, server_default=text("0")),
    Column("items_failed", Integer, nullable=False, server_default=text("0")),
    Column("rows_per_second", Double, nullable=True),
    **TABLE_OPTIONS,
)
