"""Schemathesis against the running API's own OpenAPI document, with all of its checks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import KINDS
from tests.faults.conftest import Figures
from tests.service import Service

SEED = 20261124
HOOKS = "tests.faults.schemathesis_hooks"
CASES = re.compile(r"(\d+) generated")


@pytest.fixture(params=[kind for kind in KINDS if kind in ("sqlite", "mysql")])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Two are enough: the answers do not know which database is below them."""
    return str(request.param)


@pytest.mark.timeout(3600)
def test_no_request_leads_to_a_5xx_or_to_an_answer_that_the_document_does_not_promise(
    database_url: str, database_kind: str, long: bool, figures: Figures
) -> None:
    with Service(database_url, BATCH_WAIT_TIME="0.5") as service:
        examples = 500 if long else 10
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run"),
                f"http://127.0.0.1:{service.port}/openapi.json",
                *("--checks", "all"),
                *("--max-examples", str(examples), "--seed", str(SEED)),
                "--no-color",
            ],
            env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert service.process.poll() is None
    cases = int(CASES.findall(done.stdout)[-1])
    assert cases > examples
    figures("schemathesis", database_kind, cases=cases, failures=0, seed=SEED)
