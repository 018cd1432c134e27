"""The API service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from batchline import __version__
from batchline.api import models, problems
from batchline.api.routers import router
from batchline.api.service import Service
from batchline.configurations import Settings
from batchline.constants import API_STATEMENT_TIMEOUT, PAGE_READERS
from batchline.db.database import Database


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects to nothing before it is started."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(
            Database(settings.url(), timeout=API_STATEMENT_TIMEOUT, refuse_in_outages=True)
        )
        app.state.service = service
        to_thread.current_default_thread_limiter().total_tokens = PAGE_READERS
        yield
        await service.close()

    app = FastAPI(
        title="Batchline",
        version=__version__,
        summary="Register rows now, read their predictions later.",
        lifespan=lifespan,
    )
    app.include_router(router)
    app.include_router(models.router)
    problems.install(app)
    return app
