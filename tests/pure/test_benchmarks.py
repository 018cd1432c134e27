"""`make bench` takes hours, so only its start is tried here."""

import importlib
import re
from pathlib import Path

import pytest

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()
BENCHMARKS = re.findall(r"-m (benchmarks\.\w+)", MAKEFILE)


def test_make_bench_names_benchmarks() -> None:
    assert len(BENCHMARKS) > 10


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_has_all_that_it_imports(name: str) -> None:
    assert importlib.import_module(name).main
