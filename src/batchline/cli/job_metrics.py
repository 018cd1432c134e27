"""The metrics of a batch job: a port, and the process that answers Prometheus on it."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.task.supervisor import Board


def listen_for_metrics(settings: "Settings") -> socket.socket | None:
    """Return a socket that listens on `METRICS_PORT`, or None if it is not set.

    Raises:
        ConfigurationError: the port is taken, or `HOST` is not an address of this machine.
    """
    if settings.metrics_port is None:
        return None
    from batchline.api.listener import listen

    return listen(settings.host, settings.metrics_port, "job", setting="METRICS_PORT")


def serve_metrics(settings: "Settings", listener: socket.socket, board: "Board") -> None:
    """Answer Prometheus and probes until SIGTERM."""
    from batchline.api.metrics_app import create_metrics_app
    from batchline.api.server import serve_metrics
    from batchline.cli.exposure import rules_of
    from batchline.constants import API_STATEMENT_TIMEOUT
    from batchline.db.database import Database

    def open_database() -> "Database":
        return Database(
            settings.url(),
            pool_size=2,
            timeout=API_STATEMENT_TIMEOUT,
            must_exist=True,
            renew=lambda: settings.renewed().url(),
            refuse_in_outages=True,
        )

    numbers = list(board.numbers.values())
    app = create_metrics_app(
        open_database, settings.late_after_seconds, numbers, lambda: board.silent_for
    )
    serve_metrics(app, listener, rules_of(settings, listener))
