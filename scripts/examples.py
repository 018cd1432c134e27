"""Run the examples of the README and of the docs in their order, and compare what they print.

    python -m scripts.examples          # compare
    python -m scripts.examples --write  # put the real output into the pages

Each page runs in a temporary folder of its own, beside a real API and a real batch job on a new
SQLite database. The page's blocks are used like this:

- `console`: lines that begin with `$` run in a shell, the lines below them are the output. A
  command goes on behind a line that ends with a backslash or an opening brace;
- `sql`: statements run on the database, comments below them are the result;
- `python`, `json` and others that begin with a comment or a caption `FILE:`: see `saved_as`.

Times are not compared, numbers only to a tolerance, and `…` stands for any text. JSON may be
wrapped. A command that only reads is repeated until it prints what the page shows.
"""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.api_here import ApiHere, JobHere
from tests.service import environment, migrate

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/howto/add-a-model.md",
    "docs/howto/collect-predictions.md",
    "docs/howto/delete-old-items.md",
    "docs/howto/export-from-scikit-learn.md",
    "docs/howto/predict-files.md",
    "docs/howto/predict-in-python.md",
    "docs/howto/register-a-file.md",
    "docs/howto/retry-failed-items.md",
    "docs/howto/retry-safely.md",
    "docs/howto/score-a-table.md",
    "docs/howto/use-sql.md",
)
BLOCK = re.compile(r"^```(console|sql|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?Z?)?")
ANYTHING = "…"
WIDTH = 80
PATIENCE = 30.0
"""Seconds until a command that reads has to print what the page shows."""
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Step:
    """One command or statement of a page, with the output that the page shows."""

    language: str
    command: str
    shown: str
    start: int
    end: int

    @property
    def only_reads(self) -> bool:
        """Whether it can be repeated until the batch job has run."""
        if self.language == "sql":
            return self.command.lstrip().upper().startswith("SELECT")
        if self.command.strip() == "batchline failures":
            return True
        return self.command.startswith("curl ") and not re.search(r" -[dTX] ", self.command)


def steps(page: str) -> Iterator[Step]:
    """The page's examples in their order; `start` and `end` are those of the shown output."""
    for block in BLOCK.finditer(page):
        language, text, at = block[1], block[2], block.start(2)
        if language == "console":
            for found in re.finditer(r"\$ ((?:.*[\\{]\n)*.*\n)((?:(?!\$ ).*\n)*)", text):
                yield Step(language, found[1], found[2], at + found.start(2), at + found.end(2))
        elif language == "sql":
            for found in re.finditer(r"((?:(?!-- ).*\n)*?.*;\n)((?:-- .*\n)*)", text):
                yield Step(language, found[1], found[2], at + found.start(2), at + found.end(2))
        elif text.startswith("# "):
            yield Step(language, text, "", at, at)


class Workplace:
    """A temporary folder with the service that a page's examples talk to."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._url = f"sqlite:///{folder}/batchline.db"
        self._has_job = False
        Path(folder, ".venv").symlink_to(sys.prefix)
        Path(folder, "src").symlink_to(ROOT / "src")
        migrate(self._url)
        self._api = stack.enter_context(ApiHere(self._url))

    def start_job(self) -> None:
        """Start the batch job, unless it runs already."""
        if not self._has_job:
            self._has_job = True
            self._stack.enter_context(JobHere(self._url))

    def output_of(self, step: Step) -> str:
        """What the step prints; of a step that only reads, as soon as it is what is shown."""
        deadline = time.monotonic() + PATIENCE
        while True:
            output = self._execute(step)
            done = not step.only_reads or agree(step.shown, output)
            if done or time.monotonic() > deadline:
                return output
            time.sleep(0.05)

    def _execute(self, step: Step) -> str:
        if step.language == "python":
            Path(self._folder, step.command[2:].partition("\n")[0]).write_text(step.command)
            return ""
        return self._query(step.command) if step.language == "sql" else self._shell(step.command)

    def _query(self, statement: str) -> str:
        with sqlite3.connect(Path(self._folder, "batchline.db"), timeout=10) as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        lines = (" | ".join("NULL" if v is None else str(v) for v in row) for row in rows)
        return "".join(f"-- {line}\n" for line in lines)

    def _shell(self, command: str) -> str:
        clean = {
            name: value
            for name, value in environment(LOG_LEVEL="ERROR", COLUMNS=str(WIDTH)).items()
            if not name.lower().endswith("_proxy")
        }
        clean["PATH"] = f"{self._folder}/.venv/bin:{clean['PATH']}"
        done = subprocess.run(
            command.replace("127.0.0.1:8000", f"127.0.0.1:{self._api.port}"),
            shell=True,
            cwd=self._folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        return re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE)


def played(page: str) -> Iterator[tuple[Step, str]]:
    """Run the examples of a page; each with what it really printed.

    The job starts when the page has shown a pending item, so that this one is pending for sure. A
    page that runs `batchline job --once` itself has no other job.
    """
    wants_job = "job --once" not in page
    has_pending = '"pending"' in "".join(step.shown for step in steps(page))
    with TemporaryDirectory(prefix="batchline-examples-") as folder, ExitStack() as stack:
        workplace = Workplace(Path(folder), stack)
        if wants_job and not has_pending:
            workplace.start_job()
        for step in steps(page):
            yield step, workplace.output_of(step)
            if wants_job and '"pending"' in step.shown:
                workplace.start_job()


# Comparing -------------------------------------------------------------------------------------


def agree(shown: str, printed: str) -> bool:
    """Whether the page shows what was printed, apart from times and the last digits."""
    expected, found = _documents(shown), _documents(printed)
    if expected is not None and found is not None:
        return _same(expected, found)
    pattern = re.escape(TIME.sub("TIME", shown.rstrip())).replace(re.escape(ANYTHING), ".*?")
    return re.fullmatch(pattern, TIME.sub("TIME", printed.rstrip()), re.DOTALL) is not None


def _documents(text: str) -> list[Any] | None:
    """The JSON values of a text that holds nothing else, or None."""
    found, decoder, rest = [], json.JSONDecoder(), text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            return None
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def _same(shown: Any, found: Any) -> bool:
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict) and isinstance(found, dict):
        return list(shown) == list(found) and all(_same(shown[key], found[key]) for key in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(_same, shown, found))
    if isinstance(shown, float) and isinstance(found, float):
        return isclose(shown, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(shown, str) and isinstance(found, str) and TIME.fullmatch(shown):
        return TIME.fullmatch(found) is not None
    return type(shown) is type(found) and shown == found


# Writing ---------------------------------------------------------------------------------------


def rewritten(page: str) -> str:
    """The page with the real output of each example that printed something else.

    An example that does not agree was repeated for `PATIENCE`. So a page that has changed is played
    once more, for times that are as close to each other as a reader will see them.
    """
    changed = _with_output(page, lambda step, printed: not agree(step.shown, printed))
    if changed == page:
        return page
    return _with_output(
        changed, lambda step, _: bool(TIME.search(step.shown)) and ANYTHING not in step.shown
    )


def _with_output(page: str, wanted: Callable[[Step, str], bool]) -> str:
    """The page with the real output of the examples that are wanted."""
    parts, at = [], 0
    for step, printed in played(page):
        if wanted(step, printed):
            parts += [page[at : step.start], wrapped(printed)]
            at = step.end
    return "".join([*parts, page[at:]])


def wrapped(printed: str) -> str:
    """JSON broken after commas into lines of up to `WIDTH` characters; other text as it is."""
    if _documents(printed) is None:
        return printed if not printed or printed.endswith("\n") else printed + "\n"
    return "".join(_wrapped_line(line) for line in printed.splitlines() if line)


def _wrapped_line(line: str) -> str:
    lines = [""]
    for part in re.findall(r'(?:"(?:\\.|[^"\\])*"|[^",])+,?|,', line):
        if lines[-1].strip() and len(lines[-1]) + len(part) > WIDTH:
            lines.append(" ")
        lines[-1] += part
    return "".join(f"{each}\n" for each in lines)


def main() -> None:
    write = "--write" in sys.argv[1:]
    wrong = 0
    for name in PAGES:
        path = ROOT / name
        if write:
            path.write_text(rewritten(path.read_text()))
            continue
        for step, printed in played(path.read_text()):
            if not agree(step.shown, printed):
                wrong += 1
                print(f"{name}\n$ {step.command}{step.shown}but it prints\n{printed}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
