"""Header fields of a request, read faster than starlette's `Headers` does."""

from starlette.types import Scope


def field(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header field with this name, which is in lower case."""
    for each, value in scope["headers"]:
        if each == name:
            found: bytes = value
            return found
    return None
