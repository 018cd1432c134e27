"""The options that several commands share."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)


def _setting(text: str, source: str, **more: Any) -> Any:
    """Return an option that overrides a setting.

    It has no default and does not read its variable: `configurations` does both for all commands.
    The backslash keeps the help from being read as markup.
    """
    return typer.Option(help=f"{text} \\[env: {source}]", **more)


def _integer(text: str) -> int:
    return _parsed(int, text, "an integer")


def _number(text: str) -> float:
    return _parsed(float, text, "a number")


def one_of(words: type[Word]) -> Any:
    """Return the parser and the metavar of an option that is one of these words."""

    def parse(text: str) -> Word:
        if text not in [*words]:
            raise typer.BadParameter(f"expected one of {', '.join(words)}, got {text}")
        return words(text)

    return {"parser": parse, "metavar": "|".join(words)}


def _utc_time(text: str) -> datetime:
    return _parsed(_in_utc, text, "a UTC time, 2026-11-01 or 2026-11-01T12:30:00")


def _in_utc(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _parsed(parse: Callable[[str], T], text: str, expected: str) -> T:
    try:
        return parse(text)
    except (ValueError, OverflowError):  # such as a time before the year 1 in UTC
        raise typer.BadParameter(f"expected {expected}, got {text}") from None


UTC_TIME: Any = {"parser": _utc_time, "metavar": "TIME"}
"""The parser and the metavar of an option that is a time in UTC."""

DatabaseUrl = Annotated[
    str | None,
    _setting(
        "Connect to this SQLAlchemy URL.",
        "DATABASE_URL or MYSQL_*; default: sqlite:///batchline.db",
    ),
]
Host = Annotated[str | None, _setting("Listen on this address.", "HOST; default: 127.0.0.1")]
Port = Annotated[
    int | None,
    _setting("Listen on this port.", "PORT; default: 8000", parser=_integer, metavar="INTEGER"),
]
BatchWaitTime = Annotated[
    float | None,
    _setting(
        "Start a run after this number of seconds.",
        "BATCH_WAIT_TIME; default: 60",
        parser=_number,
        metavar="SECONDS",
    ),
]
WorkerThreads = Annotated[
    int | None,
    _setting(
        "Predict this number of batches in parallel.",
        "WORKER_THREADS; default: 2 to 4, by CPU cores",
        parser=_integer,
        metavar="INTEGER",
    ),
]
ModelFilepath = Annotated[
    Path | None,
    _setting("Use this ONNX file as the default model.", "MODEL_FILEPATH; default: bundled iris"),
]
LabelFilepath = Annotated[
    Path | None,
    _setting("Read class names from this JSON file.", "LABEL_FILEPATH; default: none"),
]
LogLevel = Annotated[
    str | None,
    _setting("Log at DEBUG, INFO, WARNING or ERROR.", "LOG_LEVEL; default: INFO"),
]
LogFormat = Annotated[
    str | None,
    _setting("Log as console (for people) or json.", "LOG_FORMAT; default: console"),
]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Choose the model with this name.")]
VersionNumber = Annotated[
    int | None,
    typer.Option(
        "--version",
        help="Choose the version. \\[default: the active version]",
        parser=_integer,
        metavar="INTEGER",
    ),
]


def examples(*commands: str) -> str:
    """Return the end of a help text: commands to copy, a line each."""
    return "\n\n".join(["Examples:" if len(commands) > 1 else "Example:", *commands])
