"""The file with the results of all benchmarks, with one section for each."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--results FILE`, for results that must not replace the published ones."""
    parser.add_argument(
        "--results",
        type=Path,
        default=FILE,
        metavar="FILE",
        help="write the results to this JSON file (default: benchmarks/results.json)",
    )


def save(benchmark: str, figures: dict[str, Any], file: Path = FILE) -> None:
    """Replace this benchmark's section of the file."""
    known = json.loads(file.read_text()) if file.exists() else {}
    known[benchmark] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **figures}
    file.write_text(json.dumps(known, indent=2) + "\n")
