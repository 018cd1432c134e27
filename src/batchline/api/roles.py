"""Which role each route needs. A route that is not declared here needs the role `admin`."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from batchline.api.routers import ROUTERS
from batchline.api_keys import Role


class Open(StrEnum):
    """The reason that a route needs no key."""

    STATIC = "static"
    """The same for everybody. While no key is required, `Host` is checked, as for other routes."""
    HEALTH = "health"
    """For probes, which send any `Host`. It reveals nothing but the state."""


PROBED = ("/health/", "/metrics", "/v2/health/")
"""The beginnings of paths that machines ask for every few seconds."""

Need = Role | Open

NEEDS: Mapping[str, Need] = {
    "POST /predict": Role.WRITE,
    "GET /predict/id/{item_id}": Role.READ,
    "GET /items": Role.READ,
    "POST /items": Role.WRITE,
    "GET /models": Role.READ,
    "GET /models/{name}": Role.READ,
    "GET /v2": Role.READ,
    "GET /v2/models/{name}": Role.READ,
    "GET /v2/models/{name}/ready": Role.READ,
    "GET /v2/health/live": Open.HEALTH,
    "GET /v2/health/ready": Open.HEALTH,
    "GET /metrics": Role.READ,
    "GET /health/live": Open.HEALTH,
    "GET /health/ready": Open.HEALTH,
    "GET /health/batch": Open.HEALTH,
    "GET /docs": Open.STATIC,
    "GET /docs/start.js": Open.STATIC,
    "GET /docs/{name}": Open.STATIC,
    "GET /openapi.json": Open.STATIC,
}


class RouteNeeds:
    """Finds what a request needs, with the patterns of the routes that serve it."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_path: dict[tuple[str, str], Need] = {}
        self._by_pattern = []
        for route in routes:
            for method in methods_of(route):
                need = NEEDS.get(f"{method} {route.path}", Role.ADMIN)
                self._by_path[method, route.path] = need
                self._by_pattern.append((method, route.path_regex, need))

    def of(self, method: str, path: str) -> Need:
        """Return what a request needs. Any key may learn that there is no such path or method."""
        if method == "HEAD":
            method = "GET"
        need = self._by_path.get((method, path))  # the quick way for paths without parameters
        if need is not None:
            return need
        for of_route, pattern, need in self._by_pattern:
            if of_route == method and pattern.match(path):  # /items matches with a line feed, too
                return need
        return Role.READ


def routes_of(app: FastAPI) -> list[Route]:
    """Return the routes of an application and of its routers."""
    found: list[BaseRoute] = [*app.routes, *(route for each in ROUTERS for route in each.routes)]
    return [route for route in found if isinstance(route, Route)]


def methods_of(route: Route) -> set[str]:
    """Return the methods of a route. HEAD is part of GET."""
    return set(route.methods or ()) - {"HEAD"}
