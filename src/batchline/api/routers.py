"""Which routers the application has."""

from batchline.api import health, inference, items, models

ROUTERS = (items.router, models.router, inference.router, health.router)
