"""Prometheus and promtool, which checks rules and configurations."""

import os
from pathlib import Path

from devservers.fetch import Package, fetched
from devservers.server import find_installed

PACKAGE = Package("prometheus", "prometheus", ("usr/bin/prometheus", "usr/bin/promtool"))


def find_prometheus() -> Path:
    """Return the installed or the downloaded server. DEVSERVERS_FETCH=1 forces the latter."""
    return _find("prometheus")


def find_promtool() -> Path:
    """Return the program next to the server."""
    return _find("promtool")


def _find(program: str) -> Path:
    installed = None if os.environ.get("DEVSERVERS_FETCH") == "1" else find_installed(program)
    return installed or fetched(PACKAGE) / "usr" / "bin" / program
