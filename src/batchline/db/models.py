"""The tables. SQL clients read and write them too, so their names and meanings are a contract.

docs/reference/database.md describes each of them.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from batchline.db.dialects.types import (
    TABLE_OPTIONS,
    Blob,
    CustomId,
    Id,
    Json,
    Name,
    StatusWord,
    UtcDateTime,
    utc_now,
)


def created_at(name: str = "created_at") -> Column[datetime]:
    """Return a column with the time of the INSERT, by the database's clock."""
    return Column(name, UtcDateTime, nullable=False, server_default=utc_now())


Record = Row[*tuple[Any, ...]]

metadata = MetaData()

Word = String(64)

items = Table(
    "items",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("data", Json, nullable=False),
    Column("status", StatusWord, nullable=False, server_default=text("'pending'")),
    created_at(),
    Column("model", Name, nullable=False, server_default=text("'default'")),
    Column("custom_id", CustomId, nullable=True),
    Column("lane", SmallInteger, nullable=False, server_default=text("0")),
    Column("key_id", Integer, nullable=True),
    Column("request_id", Word, nullable=True),
    Column("batch_id", Integer, nullable=True),
    Column("retried_at", UtcDateTime, nullable=True),
    Column("traceparent", Word, nullable=True),
    Index("items_status_lane_id", "status", "lane", "id"),
    Index("items_created_at_id", "created_at", "id"),
    Index("items_model_id", "model", "id"),
    Index(
        "items_custom_id",
        "custom_id",
        "id",
        # MySQL and MariaDB have no partial indexes.
        sqlite_where=text("custom_id IS NOT NULL"),
        postgresql_where=text("custom_id IS NOT NULL"),
    ),
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
    Column("name", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("signature", Json, nullable=False),
    Column("active", Boolean, nullable=True),  # true or null, never false; see the last index
    created_at(),
    Column("label_file", Json, nullable=True),  # both are in `options`, and here for older code
    Column("allow_non_finite", Boolean, nullable=True),
    Column("batching", Json, nullable=True),  # null: added by a Batchline that stored no files
    Column("notes", Json, nullable=True),
    Column("size", Id, nullable=True),
    Column("location", Text, nullable=True),  # null: the content is in `model_files`
    Column("options", Json, nullable=True),
    Column("removed_at", UtcDateTime, nullable=True),  # the file was deleted, the row is kept
    UniqueConstraint("name", "version", name="models_name_version"),
    Index("models_active", "name", "active", unique=True),  # of nulls there may be many
    **TABLE_OPTIONS,
)

model_files = Table(
    "model_files",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("content", Blob, nullable=False),
    created_at(),
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
    Column("label", Json, nullable=True),
    UniqueConstraint("item_id", "model_id", name="predictions_item_model"),
    **TABLE_OPTIONS,
)

failures = Table(
    "failures",
    metadata,
    Column("item_id", Id, primary_key=True, autoincrement=False),
    Column("model_id", Integer, primary_key=True, autoincrement=False),
    Column("code", Word, nullable=False),
    Column("detail", Text, nullable=False),
    created_at(),
    Index("failures_code_item_id", "code", "item_id"),
    Index("failures_created_at_code", "created_at", "code"),
    **TABLE_OPTIONS,
)

claims = Table(
    "claims",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner", Word, nullable=True),  # null: a suspect that no job has taken
    Column("suspect", Boolean, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("first_id", Id, nullable=False),
    Column("last_id", Id, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    created_at(),
    Column("backfill_id", Integer, nullable=True),  # null: a claim of pending items
    Column("lane", SmallInteger, nullable=True),  # null: of all lanes, as jobs of 0003 claim
    CheckConstraint("first_id <= last_id", name="claims_range"),
    **TABLE_OPTIONS,
)

backfills = Table(
    "backfills",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", Name, nullable=False),
    Column("model_id", Integer, nullable=False),
    Column("status", StatusWord, nullable=False),
    Column("since", UtcDateTime, nullable=True),
    Column("until", UtcDateTime, nullable=True),
    Column("first_id", Id, nullable=False),
    Column("last_id", Id, nullable=False),
    Column("next_id", Id, nullable=False),  # the first id that has not been claimed
    created_at(),
    Column("ended_at", UtcDateTime, nullable=True),
    **TABLE_OPTIONS,
)

gate = Table(
    "gate",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    **TABLE_OPTIONS,
)

migrations = Table(
    "batchline_migrations",
    metadata,
    Column("revision", Word, primary_key=True),
    Column("oldest_code", Word, nullable=False),  # the oldest revision whose code works on it
    created_at(),
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
    Column("runtime", String(255), nullable=True),
    Column("processor", String(255), nullable=True),
    **TABLE_OPTIONS,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Name, nullable=False),
    Column("role", Word, nullable=False),
    Column("sha256", String(64), nullable=False),  # of the key, which is stored nowhere
    Column("rate", Double, nullable=True),  # requests per second; null: no limit
    Column("items_per_day", Id, nullable=True),
    created_at(),
    Column("last_used_at", UtcDateTime, nullable=True),
    Column("revoked_at", UtcDateTime, nullable=True),
    UniqueConstraint("name", name="api_keys_name"),
    UniqueConstraint("sha256", name="api_keys_sha256"),
    **TABLE_OPTIONS,
)

key_usage = Table(
    "key_usage",
    metadata,
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),  # in UTC
    Column("items", Id, nullable=False),
    **TABLE_OPTIONS,
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    created_at(),
    Column("actor", String(255), nullable=False),
    Column("action", Word, nullable=False),
    Column("subject", String(255), nullable=True),
    Column("detail", Json, nullable=True),
    **TABLE_OPTIONS,
)

job_processes = Table(
    "job_processes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner", Word, nullable=False),  # as in `runs` and `claims`
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Word, nullable=False),  # of Batchline
    created_at("started_at"),
    created_at("seen_at"),
    Column("activity", String(255), nullable=False),
    Column("rows_per_second", Double, nullable=True),
    Column("next_run_at", UtcDateTime, nullable=True),
    Column("failed_at", UtcDateTime, nullable=True),  # the last run raised an error then
    Column("error", String(255), nullable=True),
    UniqueConstraint("owner", name="job_processes_owner"),
    **TABLE_OPTIONS,
)

checks = Table(
    "batchline_checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    created_at("checked_at"),
    **TABLE_OPTIONS,
)

results = Table(
    "results",
    MetaData(),  # a view, which migration 0004 creates
    Column("id", Id),
    Column("custom_id", CustomId),
    Column("model", Name),
    Column("version", Integer),
    Column("status", Word),  # not an Enum, which raises for another text
    Column("label", Json),
    Column("prediction", Json),
    Column("error_code", Word),
    Column("error_detail", Text),
    Column("created_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
)
