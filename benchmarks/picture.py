"""Draw `docs/explanation/performance.svg`, the README's picture, from `benchmarks/results.json`."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import results

FILE = Path(__file__).parents[1] / "docs" / "explanation" / "performance.svg"

NAMES = {"sqlite": "SQLite", "mysql": "MySQL", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
CONTENDERS = {
    "seed": ("a loop, a row at a time", "#c8ccd2"),
    "script": ("a hand-written script", "#8d99a6"),
    "product": ("batchline job", "#1769aa"),
}
WIDTH, LEFT, RIGHT, TOP = 760, 110, 90, 60
BAR, GAP = 16, 18


def main() -> None:
    FILE.write_text(draw(read_figures()))
    print(f"{FILE.name} shows the batch job's figures")


def read_figures() -> dict[str, Any]:
    """Return what the last benchmark of the batch job found."""
    found: dict[str, Any] = json.loads(results.FILE.read_text())["job"]
    return found


def draw(job: dict[str, Any]) -> str:
    """Return an SVG with a group of bars for each database, in items per second."""
    found = job["databases"]
    figures = {name: found[name]["items_per_second"] for name in NAMES if name in found}
    height = TOP + len(figures) * (len(CONTENDERS) * BAR + GAP) + GAP
    longest = max(rates[contender] for rates in figures.values() for contender in CONTENDERS)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#222"'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    title = _text(16, 24, "Items predicted and stored per second", 'font-weight="600"')
    items, cores = job["conditions"]["items"], job["conditions"]["cores"]
    made = f"iris model, {items:,} items of one row, {cores} shared cores, {job['date']}"
    conditions = _text(280, 24, made, 'font-size="11" fill="#555"')
    parts = [
        background,
        title,
        conditions,
        *_legend(),
        *_bars(figures, (WIDTH - LEFT - RIGHT) / longest),
    ]
    return f"{head} {style}>\n" + "\n".join(parts) + "\n</svg>\n"


def _legend() -> Iterator[str]:
    x = LEFT
    for label, colour in CONTENDERS.values():
        yield _bar(x, 37, 12, colour, height=12)
        yield _text(x + 18, 48, label)
        x += 190


def _bars(figures: dict[str, dict[str, Any]], scale: float) -> Iterator[str]:
    y = TOP + GAP // 2
    for name, rates in figures.items():
        yield _text(16, y + BAR * len(CONTENDERS) / 2 + 5, NAMES[name])
        for contender, (_, colour) in CONTENDERS.items():
            width = rates[contender] * scale
            yield _bar(LEFT, y, max(width, 1), colour, height=BAR - 2)
            yield _text(LEFT + width + 6, y + 11, f"{rates[contender]:,.0f}", 'font-size="11"')
            y += BAR
        y += GAP


def _bar(x: float, y: float, width: float, colour: str, *, height: int) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(x: float, y: float, words: str, attributes: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {attributes}>{escape(words)}</text>'


if __name__ == "__main__":
    main()
