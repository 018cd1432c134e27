"""The routers of the application."""

from batchline.api import docs, health, inference, items, models

ROUTERS = (items.router, models.router, inference.router, health.router, docs.router)
