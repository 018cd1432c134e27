"""The API service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from batchline import __version__
from batchline.api import problems
from batchline.api.openapi import Application
from batchline.api.routers import ROUTERS
from batchline.api.state import ApiState
from batchline.configurations import Settings
from batchline.constants import API_STATEMENT_TIMEOUT, PAGE_READERS
from batchline.db.database import Database


def create_app(settings: Settings) -> FastAPI:
    """Return the application. It connects to the database once it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(
            settings.url(),
            timeout=API_STATEMENT_TIMEOUT,
            must_exist=True,
            renew=lambda: settings.renewed().url(),
            refuse_in_outages=True,
        )
        state = ApiState(database, settings.late_after_seconds)
        app.state.api = state
        to_thread.current_default_thread_limiter().total_tokens = PAGE_READERS
        yield
        await state.close()

    app = Application(
        title="Batchline",
        version=__version__,
        summary="Register rows now, read their predictions later.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect names a scheme, which a proxy may have changed
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    return app
