"""Faults on purpose: short forms in `make test`, long forms with `--long` in `make torture`.

Each long form writes its counts to `docs/explanation/reliability.json`.
"""

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parent.parent.parent / "docs" / "explanation" / "reliability.json"

Figures = Callable[..., None]


@pytest.fixture
def figures(request: pytest.FixtureRequest, long: bool) -> Figures:
    """Call it with what a test counted: `figures("kill loop", "mysql", kills=200, lost=0)`."""

    def write(experiment: str, where: str, **counted: Any) -> None:
        print(f"{experiment} on {where}: {counted}")
        if long:
            results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            results["python"] = platform.python_version()
            results.setdefault(experiment, {})[where] = counted
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")

    return write
