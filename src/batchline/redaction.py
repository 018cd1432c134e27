"""Keep secrets, values of rows and local paths out of messages."""

import re
import traceback
from collections.abc import Iterator
from types import TracebackType

HIDDEN = "***"

_PASSWORD = re.compile(
    r"((?:postgresql|mysql|mariadb)[^:\s]*://[^/@\s:]*:)[^\s]*@"  # SQLAlchemy allows a slash in it
    r"|(://[^/@\s:]*:)[^/\s]*@"
)
_TOKEN = re.compile(r"(?<=https://)[^/@\s:]+(?=@)|(?<=http://)[^/@\s:]+(?=@)")
_QUERY = re.compile(r"(://[^\s?'\"]*\?)[^\s'\"]*=[^\s'\"]*")
_USER = re.compile(r"://(?:[^/?#]*|[^/?#:]*:(?!\d+/)[^?#]*)@")
_FOLDERS = re.compile(r"(?:[a-z][a-z0-9+.-]*:/)?/(?:[^\s'\",:;/]+/)+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VALUE = re.compile(rf"{_QUOTED.pattern}|(?<!\w)[-+]?\d[\d.,_]*(?:[eE][-+]?\d+)?")


def urls(text: str) -> str:
    """Return a text with *** for the password and the query of each URL."""
    text = _TOKEN.sub(HIDDEN, _PASSWORD.sub(rf"\1\2{HIDDEN}@", text))
    return _QUERY.sub(rf"\1{HIDDEN}", text)


def location(path_or_url: str) -> str:
    """Return a path, or a URL with *** for its user and its query, all of which may be secret."""
    if "://" not in path_or_url:
        return path_or_url
    address = re.split(r"[?#]", path_or_url, maxsplit=1)
    hidden = _USER.sub(f"://{HIDDEN}@", address[0])
    return hidden + (f"?{HIDDEN}" if len(address) > 1 else "")


def has_secrets(url: str) -> bool:
    """Return whether a URL has a user, a query or a fragment, any of which may be a secret."""
    return location(url) != url


def without(text: str, url: str) -> str:
    """Return what a library says of a URL, without the secrets of the URL in whole or in part."""
    text = text.replace(url, location(url))
    user = re.search(r"://([^/?#]*)@", url)
    query = re.split(r"[?#]", url, maxsplit=1)[1:]
    parts = [*(user[1].split(":", 1) if user else ()), *query]
    parts += [value for each in query for value in re.split(r"[&=]", each) if len(value) > 5]
    for part in sorted(filter(None, parts), key=len, reverse=True):
        text = text.replace(part, HIDDEN)
    return urls(text)


def folders(text: str) -> str:
    """Return a text in which each absolute path and each URL is only the name of its file."""
    return _FOLDERS.sub("", text)


def quoted(text: str) -> str:
    """Return a text with an asterisk instead of each quoted value."""
    return _QUOTED.sub("*", text)


def values(text: str) -> str:
    """Return a text with an asterisk instead of each number and each quoted value."""
    return _VALUE.sub("*", text)


def traceback_text(error: BaseException) -> str:
    """Return the traceback of an error and of its causes, with the code but without values.

    The messages of Batchline's own errors are safe. Those of others may quote a row.
    """
    return "\n".join(_lines(error)).rstrip()


def _lines(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _lines(cause)
        yield "which led to:"
    yield from _frames(error.__traceback__)
    yield f"{type(error).__qualname__}: {_message(error)}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _lines(each)


def _frames(found: TracebackType | None) -> Iterator[str]:
    for frame in traceback.format_tb(found):
        yield frame.rstrip()


def _message(error: BaseException) -> str:
    from batchline.errors import BatchlineError

    if isinstance(error, BatchlineError):
        return error.detail
    if type(error).__module__.startswith("sqlalchemy"):
        return "as Batchline's error says"  # the driver quotes rows, and SQL holds them
    return values(urls(str(error).strip().partition("\n")[0]))
