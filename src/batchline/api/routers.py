"""The routers of the application."""

from batchline.api import health, inference, items, models

ROUTERS = (items.router, models.router, inference.router, health.router)
