"""The application that answers Prometheus for a batch job, behind the same rules for access."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from batchline.api import metrics as endpoint
from batchline.api import problems
from batchline.api.shared_state import SharedState
from batchline.db.database import Database
from batchline.metrics import OF_JOB, Numbers


def create_metrics_app(
    open_database: Callable[[], Database], late_after: float, numbers: Sequence[Numbers]
) -> FastAPI:
    """Return the application.

    Args:
        late_after: seconds that a request may wait for its prediction.
        numbers: what the processes of the job count.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = SharedState(open_database(), late_after, OF_JOB, numbers)
        app.state.api = state
        yield
        await state.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.include_router(endpoint.router)
    problems.install(app)
    return app
