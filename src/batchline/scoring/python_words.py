"""Errors that name options of the command, in the words of Python."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from batchline.errors import BatchlineError

READ = "delimiter", "decimal", "thousands", "encoding"
FORMATS = {"input-format": ("read", "ReadOptions"), "output-format": ("write", "WriteOptions")}
OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: ('[^']*'|utf-16|csv|jsonl|parquet|[A-Z=.,]{3,}))?")


@contextmanager
def python_words() -> Iterator[None]:
    """Let errors name arguments instead of options: `max_errors` for --max-errors."""
    try:
        yield
    except BatchlineError as error:
        error.detail, error.hint = in_python(error.detail), in_python(error.hint)
        error.args = (error.detail,)
        raise


def in_python(text: str) -> str:
    return OPTION.sub(_argument, text)


def _argument(found: re.Match[str]) -> str:
    name, value = found.group(1), (found.group(2) or "").strip("'").replace("\\t", "\t")
    if name in READ:
        return f"read=ReadOptions({name}={value or '…'!r})"
    if name in FORMATS:
        argument, options = FORMATS[name]
        return f"{argument}={options}(format={value or '…'!r})"
    argument = name.replace("-", "_")
    return f"{argument}={value}" if value else argument
