"""Which names the API has. This keeps a page from reaching it by a name that it has redirected.

A browser lets a page read what comes from the page's own name, and the page's owner decides which
address that name has. So the API answers only to its own names while it requires no key.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

from batchline.access_errors import UnknownHost

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

HOST = re.compile(r"(?:\[([^\]]+)\]|([^:@/\s]+))(?::\d*)?")
"""A name or an address, with or without a port."""


class Hosts:
    """The names to which the API answers.

    Args:
        names: `*.example.com` stands for all names that end so, and `*` for all names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(map(_normal, names))
        self._ends = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._is_own = lru_cache(maxsize=256)(self._has)

    @classmethod
    def by_default(cls, listens_on: str) -> "Hosts":
        """Return loopback names and what the API listens on."""
        return cls([*LOOPBACK_NAMES, listens_on])

    def check(self, host: bytes, server: tuple[str, int | None] | None) -> None:
        """Check the header field `Host` of a request to this address of the API.

        Raises:
            UnknownHost: the API does not have this name.
        """
        address = server[0] if server else ""
        if not self._is_own(host, address):
            raise UnknownHost(
                f"the API does not serve the host {host[:80].decode(errors='replace')!r}",
                hint="use an address that the API listens on, or add the name to ALLOWED_HOSTS",
            )

    def _has(self, host: bytes, address: str) -> bool:
        found = HOST.fullmatch(host.decode("latin-1").strip(" \t"))
        if found is None:
            return "*" in self._names
        name = _normal(found[1] or found[2])
        return bool({name, "*"} & self._names) or name == address or name.endswith(self._ends)


def _normal(name: str) -> str:
    name = name.strip("[]").lower().removesuffix(".")
    with suppress(ValueError):
        return str(ip_address(name))
    return name
