"""The service inside of the test's process, without the second that a process takes to start.

It listens on a port as `batchline api` does, and stops as that does at SIGTERM. Tests that kill it,
limit it or read its log take `Service(url, "api")` instead.
"""

import os
from contextlib import closing
from threading import Event, Thread
from typing import Self
from unittest.mock import patch

from batchline.api.app import create_app
from batchline.api.listener import listen
from batchline.api.server import server_for
from batchline.cli.exposure import rules_of
from batchline.configurations import read_settings
from batchline.db.database import Database
from batchline.task.run import Run
from batchline.tracing import Tracing
from tests.jobs import make_job
from tests.service import HttpApi, environment, wait_for


class ApiHere(HttpApi):
    """What `batchline api` serves on a migrated database, until the block ends."""

    def __init__(
        self, database_url: str, *, tracing: Tracing | None = None, **settings: str
    ) -> None:
        super().__init__(database_url)
        variables = environment(DATABASE_URL=database_url, **settings)
        with patch.dict(os.environ, variables, clear=True):
            settings = read_settings()
            self._server = server_for(create_app(settings), rules_of(settings), tracing)
        self._thread = Thread(target=self._serve)

    def _serve(self) -> None:
        with listen("127.0.0.1", self.port, "api") as listener:
            self._server.run(sockets=[listener])

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started or not self._thread.is_alive(), "the API's start")
        assert self._server.started
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join()


class JobHere:
    """A job that runs again and again until the block ends."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._over = Event()
        self._thread = Thread(target=self._predict)

    def _predict(self) -> None:
        with closing(Database(self._database_url)) as database:
            job = make_job(database)
            while not self._over.wait(0.1):
                Run(job, 1, lambda outcome: None).execute()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()


class ServiceHere(ApiHere):
    """What `batchline up` does on a migrated database: the API and a job."""

    def __init__(self, database_url: str, **settings: str) -> None:
        super().__init__(database_url, **settings)
        self._job = JobHere(database_url)

    def __enter__(self) -> Self:
        self._job.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._job.__exit__()
