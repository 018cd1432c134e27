"""Logging to stderr: one line per event, for people (`console`) or for machines (`json`)."""

import logging
import math
import sys
import threading
import time
from functools import partial
from typing import TextIO

import structlog
from structlog.typing import EventDict

from batchline.constants import FAILURE_LOG_INTERVAL, LOGGED_CHARACTERS
from batchline.redaction import traceback_text, urls, values


def configure(level: str, format: str, role: str = "", process: str = "") -> None:
    """Format Batchline's events and those of its libraries (uvicorn, Alembic) in the same way.

    Args:
        role: `api` or `job`, which each event names. Under `up`, both log to the same place.
        process: of a job, which each event names, too.
    """
    about = {"role": role, "process": process}
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_add, {name: text for name, text in about.items() if text}),
        _without_empty_hint,
        _escape,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(format),
            ],
        )
    )
    handler.addFilter(_RarelyOfTracing())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    sys.excepthook, threading.excepthook = _print_crash, _print_thread_crash
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_without_values)


def _add(about: EventDict, logger: object, method: str, event: EventDict) -> EventDict:
    return {**event, **about}


def _without_empty_hint(logger: object, method: str, event: EventDict) -> EventDict:
    """Leave out the hint of an error that has none."""
    return {name: value for name, value in event.items() if name != "hint" or value}


def _escape(logger: object, method: str, event: EventDict) -> EventDict:
    """Escape control characters, with which a client could forge an event, and cut long texts."""
    return {name: _escaped(value) if type(value) is str else value for name, value in event.items()}


def _escaped(text: str) -> str:
    if len(text) > LOGGED_CHARACTERS:  # such as the path of a request
        text = f"{text[:LOGGED_CHARACTERS]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _rendering(format: str) -> list[structlog.types.Processor]:
    # Tracebacks have no local variables, which can hold passwords and data, and no values.
    if format == "json":
        text = structlog.processors.ExceptionRenderer(lambda found: traceback_text(found[1]))
        return [text, structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback)]


class _RarelyOfTracing(logging.Filter):
    """Let one event of OpenTelemetry through in a minute, per module and level.

    While its collector is unavailable, it logs each attempt to send spans.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        kind, now = (record.name, record.levelno), time.monotonic()
        if now - self._passed_at.get(kind, -math.inf) < FAILURE_LOG_INTERVAL:
            return False
        self._passed_at[kind] = now
        record.msg, record.args = urls(record.getMessage()), ()
        return True


def _without_values(record: logging.LogRecord) -> bool:
    """Mask the message of an event of asyncio, which has the reprs of tasks and their errors."""
    record.msg, record.args = values(urls(record.getMessage())), ()
    return True


def _write_traceback(stream: TextIO, found: structlog.typing.ExcInfo) -> None:
    stream.write(traceback_text(found[1]))


def _print_crash(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Print the error that ends the process, as Python does, but without values of rows."""
    print(traceback_text(error), file=sys.stderr)


def _print_thread_crash(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
        print(traceback_text(found.exc_value), file=sys.stderr)
