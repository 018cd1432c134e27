"""The application that answers Prometheus and probes for a batch job.

The rules for access are those of the API.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response

from batchline.api import metrics as endpoint
from batchline.api import problems
from batchline.api.responses import json_response
from batchline.api.shared_state import SharedState
from batchline.constants import SILENCE_LIMIT
from batchline.db.database import Database
from batchline.errors import JobSilent
from batchline.metrics import OF_JOB, Numbers


def create_metrics_app(
    open_database: Callable[[], Database],
    late_after: float,
    numbers: Sequence[Numbers],
    silent_for: Callable[[], float],
) -> FastAPI:
    """Return the application.

    Args:
        late_after: seconds that a request may wait for its prediction.
        numbers: what the processes of the job count.
        silent_for: returns the seconds since the worker process last showed life.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = SharedState(open_database(), late_after, OF_JOB, numbers)
        app.state.api = state
        yield
        await state.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.include_router(endpoint.router)

    @app.get("/health/live")
    async def live() -> Response:
        """Return 200, or 503 if the worker process hangs. It may wait for the database."""
        if (seconds := silent_for()) > SILENCE_LIMIT:
            raise JobSilent(f"the worker process has shown no life for {seconds:.0f} s")
        return json_response({"status": "ok"})

    problems.install(app)
    return app
