"""Put the figures of `reliability.json` into the tables of `docs/explanation/reliability.md`.

python -m tests.faults.report
"""

import json
import re
from typing import Any

from tests.faults.conftest import RESULTS

PAGE = RESULTS.with_suffix(".md")
TABLE = re.compile(r"(<!-- figures: (?P<experiment>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_figures(page: str, results: dict[str, Any]) -> str:
    """The page, with the table of each experiment between its two marks."""
    return TABLE.sub(lambda m: f"{m[1]}\n{table(results[m['experiment']])}\n{m[3]}", page)


def table(experiment: dict[str, dict[str, Any]]) -> str:
    """A row for each database, a column for each count."""
    columns = list(dict.fromkeys(column for counted in experiment.values() for column in counted))
    titles = [column.replace("_", " ") for column in columns]
    rows = [
        [where, *(str(counted.get(c, "")) for c in columns)]
        for where, counted in experiment.items()
    ]
    lines = [["", *titles], ["---"] * (len(titles) + 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(), json.loads(RESULTS.read_text())))
