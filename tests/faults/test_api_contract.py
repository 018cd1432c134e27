"""The running API does what its own OpenAPI document says, whatever is sent to it.

Schemathesis reads the document and sends what it allows and what it forbids, operation by operation
and in sequences: every answer has to be a documented one, and no answer may be a 5xx. All of its
checks are on; `schemathesis_hooks.py` says what it cannot know from the document.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KINDS
from tests.faults.conftest import Figures
from tests.service import Service, environment

ROOT = Path(__file__).parent.parent.parent
PHASES = ("examples", "coverage", "fuzzing", "stateful")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All databases in the long form; else one, for the API is the same."""
    long = metafunc.config.getoption("--long")
    metafunc.parametrize("kind", KINDS if long else KINDS[:1])


@pytest.fixture
def database_kind(kind: str) -> str:
    return kind


@pytest.fixture
def service(database_url: str) -> Iterator[Service]:
    with Service(database_url, BATCH_WAIT_TIME="0.5") as service:
        yield service


def schemathesis(service: Service, folder: Path, **options: object) -> dict[str, Any]:
    """Run all of Schemathesis; its report, if it found nothing wrong."""
    options |= {"phases": ",".join(PHASES), "checks": "all", "generation-database": "none"}
    options |= {"report": "json", "report-json-path": folder / "report.json"}
    words = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "run"),
            *(f"{service.http.base_url}/openapi.json", "--continue-on-failure", *words),
        ],
        env=environment(
            PYTHONPATH=f"{ROOT / 'src'}:{ROOT}",
            SCHEMATHESIS_HOOKS="tests.faults.schemathesis_hooks",
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((folder / "report.json").read_text()))


def test_every_answer_is_one_that_the_document_promises(
    service: Service, tmp_path: Path, kind: str, long: bool, figures: Figures
) -> None:
    seed = random.randrange(2**32) if long else 1
    examples = 400 if long else 10
    report = schemathesis(service, tmp_path, seed=seed, **{"max-examples": examples})
    cases, rates = report["test_cases"], report["valid_rates"]
    assert {name: phase["status"] for name, phase in report["phases"].items()} == dict.fromkeys(
        PHASES, "success"
    )
    assert report["operations"]["tested"] == report["operations"]["total"] == len(rates)
    # Otherwise nothing was registered, and there was hardly anything to read.
    assert rates["POST /predict"]["fuzzing"]["accepted"] > 0
    figures(
        "schemathesis",
        kind,
        cases=cases["generated"],
        failures=cases["with_failures"],
        reused_keys=report["filtered"],
        seed=seed,
    )
