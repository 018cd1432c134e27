"""API keys: what a client sends to show who it is, and what its role allows."""

import secrets
from enum import StrEnum
from hashlib import sha256

PREFIX = "bl_"
"""Lets secret scanners recognise a key."""

SECRET_BYTES = 32


class Role(StrEnum):
    """What a key allows. Each role includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do what the other role may do."""
        ranks = list(type(self))
        return ranks.index(self) >= ranks.index(other)


def generate() -> str:
    """Return a new key."""
    return PREFIX + secrets.token_hex(SECRET_BYTES)


def digest(key: str) -> str:
    """Return the SHA-256 of a key, which is all that is stored of it.

    A key is random and long, so a slow hash with a salt would add nothing.
    """
    return sha256(key.encode()).hexdigest()
