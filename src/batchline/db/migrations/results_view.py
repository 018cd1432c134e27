"""The view `results`, which joins an item with what the active version of its model made of it."""

from sqlalchemy import Connection

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
"""The active version's result counts, else the newest version's.

Most items have one result, so this is one probe of an index. A window function would read the whole
table for one item.
"""

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


def create(connection: Connection) -> None:
    """Create the view with the rights of its reader."""
    connection.exec_driver_sql(f"{_beginning(connection)} {RESULTS}")


def _beginning(connection: Connection) -> str:
    dialect = connection.dialect
    if dialect.name == "sqlite":
        return "CREATE VIEW IF NOT EXISTS results AS"
    if dialect.name in ("mysql", "mariadb"):
        return "CREATE OR REPLACE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW results AS"
    option = (
        " WITH (security_invoker = true)" if (dialect.server_version_info or ()) >= (15,) else ""
    )
    return f"CREATE OR REPLACE VIEW results{option} AS"
