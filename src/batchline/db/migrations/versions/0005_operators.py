"""API keys and their use, the audit log, the processes of the batch job, and a table for `check`.

Items have the time of their last retry.

Revision: 0005, after 0004. API processes and jobs of 0004 work on this schema, but they ask for no
API key.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from batchline.db.dialects.types import TABLE_OPTIONS, Id, Json, Name, UtcDateTime, utc_now
from batchline.db.models import metadata

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_to_items(_time("retried_at"))
    _create_keys()
    _create_audit()
    _create_job_processes()
    _create(
        "batchline_checks",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _time("checked_at", now=True),
    )
    _keep_times()


def _create_keys() -> None:
    _create(
        "api_keys",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", Name, nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("rate", sa.Double, nullable=True),
        sa.Column("items_per_day", Id, nullable=True),
        _time("created_at", now=True),
        _time("last_used_at"),
        _time("revoked_at"),
        sa.UniqueConstraint("name", name="api_keys_name"),
        sa.UniqueConstraint("sha256", name="api_keys_sha256"),
    )
    _create(
        "key_usage",
        sa.Column("key_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("items", Id, nullable=False),
    )


def _create_audit() -> None:
    _create(
        "audit_entries",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        _time("created_at", now=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=True),
        sa.Column("detail", Json, nullable=True),
    )


def _create_job_processes() -> None:
    _create(
        "job_processes",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        _time("started_at", now=True),
        _time("seen_at", now=True),
        sa.Column("activity", sa.String(255), nullable=False),
        sa.Column("rows_per_second", sa.Double, nullable=True),
        _time("next_run_at"),
        _time("failed_at"),
        sa.Column("error", sa.String(255), nullable=True),
        sa.UniqueConstraint("owner", name="job_processes_owner"),
    )


def _keep_times() -> None:
    """Let no time change by itself.

    With `explicit_defaults_for_timestamp=OFF`, MySQL and MariaDB gave the first TIMESTAMP of a
    table without a default ON UPDATE. That is `claims.expires_at`: a claim expired as soon as
    anything else of it was changed.
    """
    connection = op.get_bind()
    if connection.dialect.name not in ("mysql", "mariadb"):
        return
    query = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND extra LIKE '%on update%'"
    )
    for table, column in connection.execute(query).all():
        ours = metadata.tables[table].c.get(column) if table in metadata.tables else None
        if ours is not None and not ours.nullable:
            op.execute(
                f"ALTER TABLE {table} MODIFY {column} TIMESTAMP(6) NOT NULL"
                " DEFAULT CURRENT_TIMESTAMP(6)"
            )


def _add_to_items(column: sa.Column[Any]) -> None:
    existing = {found["name"] for found in sa.inspect(op.get_bind()).get_columns("items")}
    if column.name not in existing:
        op.add_column("items", column)


def _create(table: str, *columns: Any) -> None:
    op.create_table(table, *columns, if_not_exists=True, **TABLE_OPTIONS)


def _time(name: str, *, now: bool = False) -> sa.Column[Any]:
    default = utc_now() if now else None
    return sa.Column(name, UtcDateTime, nullable=not now, server_default=default)


def downgrade() -> None:
    for table in ("batchline_checks", "job_processes", "audit_entries", "key_usage", "api_keys"):
        op.drop_table(table)
    op.drop_index("failures_created_at_code", "failures")
    op.drop_column("items", "retried_at")
