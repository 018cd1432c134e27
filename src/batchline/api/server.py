"""Run uvicorn on a socket that already listens."""

import os
import resource
import socket
import sys
from functools import partial
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from batchline.api.access import Access, Rules
from batchline.api.connections import Connection, Connections
from batchline.api.fast_path import FastPath
from batchline.constants import (
    API_SHUTDOWN_TIMEOUT,
    API_SWITCH_INTERVAL,
    MAX_CONNECTIONS,
)
from batchline.tracing import Tracing

HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
]
"""Every response has them. Rows and predictions are nobody's but the client's."""


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: object) -> None:
        """Finish requests in progress at the first signal. Exit at once at the second."""
        if self.should_exit:
            os._exit(128 + sig)  # every item with an id is already stored
        self.should_exit = True


def serve(
    app: FastAPI, listener: socket.socket, rules: Rules, tracing: Tracing | None = None
) -> None:
    """Serve until SIGTERM or Ctrl-C, then close the listener.

    After that, requests in progress have `API_SHUTDOWN_TIMEOUT` seconds to finish.
    """
    sys.setswitchinterval(API_SWITCH_INTERVAL)
    _allow_open_files(3 * MAX_CONNECTIONS)
    with listener:
        server_for(app, rules, tracing).run(sockets=[listener])


def serve_metrics(app: FastAPI, listener: socket.socket, rules: Rules) -> None:
    """Serve an application without the endpoints of the fast path until SIGTERM."""
    with listener:
        _server(Access(app, app, rules), log_level="warning").run(sockets=[listener])


def server_for(app: FastAPI, rules: Rules, tracing: Tracing | None = None) -> uvicorn.Server:
    """Return uvicorn with Batchline's limits of connections and rules for access."""
    return _server(_traced(guarded(app, rules), tracing))


def _server(application: ASGIApp, log_level: str | None = None) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        log_level=log_level,
        http=cast(Any, partial(Connection, Connections())),  # uvicorn calls it like a class
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no response depends on the client's address or scheme
        headers=HEADERS,
        timeout_graceful_shutdown=API_SHUTDOWN_TIMEOUT,
    )
    return _Server(config)


def _traced(app: ASGIApp, tracing: Tracing | None) -> ASGIApp:
    if tracing is None:
        return app
    from batchline.api.traced import Traced  # it imports OpenTelemetry

    return Traced(app, tracing)


def guarded(app: FastAPI, rules: Rules) -> ASGIApp:
    """Return the application with its fast path, behind the rules for access."""
    access = Access(FastPath(app), app, rules)
    if not rules.origins:
        return access
    return CORSMiddleware(
        access,
        allow_origins=sorted(rules.origins),
        allow_methods=["GET", "POST"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Traceparent",
            "Tracestate",
            "X-Request-ID",
        ],
        expose_headers=["Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"],
    )


def _allow_open_files(number: int) -> None:
    """Raise the process's own limit. Connections beyond `MAX_CONNECTIONS` are open for a moment."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
