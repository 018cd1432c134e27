"""The API inside of the test's process, with all that guards it."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx

from batchline import api_keys
from batchline.api.app import create_app
from batchline.api.server import guarded
from batchline.api.state import ApiState
from batchline.api_keys import Role
from batchline.cli.exposure import rules_of
from batchline.configurations import read_settings
from batchline.db.cruds import keys
from batchline.db.database import Database


class Client:
    """Sends one request after the other, with `Host: 127.0.0.1` unless another one is given."""

    def __init__(self, http: httpx.AsyncClient, runner: asyncio.Runner, state: ApiState) -> None:
        self._http = http
        self._runner = runner
        self.state = state

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


@contextmanager
def api(database_url: str, **settings: Any) -> Iterator[Client]:
    """A client of an API with these settings."""
    read = read_settings(database_url=database_url, **settings)
    app = create_app(read)
    transport = httpx.ASGITransport(guarded(app, rules_of(read)))
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            yield Client(http, runner, app.state.api)
        finally:
            runner.run(lifespan.__aexit__(None, None, None))


def add_key(database_url: str, role: Role = Role.WRITE, name: str = "", **limits: Any) -> str:
    """Store a new key and return it. Its name is that of its role, unless you give one."""
    key = api_keys.generate()
    with closing(Database(database_url)) as database:
        sha256 = api_keys.digest(key)
        database.transaction(lambda c: keys.create(c, name or role, role, sha256, **limits))
    return key


def revoke_key(database_url: str, name: str) -> None:
    with closing(Database(database_url)) as database:
        assert database.transaction(lambda c: keys.revoke(c, name, "test"))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
