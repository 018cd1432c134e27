"""The routers of the application."""

from batchline.api import docs, health, inference, items, metrics, models

ROUTERS = (
    items.router,
    models.router,
    inference.router,
    health.router,
    metrics.router,
    docs.router,
)
