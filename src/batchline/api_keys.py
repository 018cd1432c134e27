"""API keys: what a client sends to show who it is, and what its role allows."""

import re
import secrets
from enum import StrEnum
from hashlib import sha256

PREFIX = "bl_"
"""Lets secret scanners recognise a key."""

SECRET_BYTES = 32

MIN_SECRET, MAX_SECRET = 32, 128
"""Characters after the prefix of a key that a user brings. Fewer could be guessed."""

MAX_NAME_LENGTH = 64

KEY = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{{MIN_SECRET},{MAX_SECRET}}}", re.ASCII)


class Role(StrEnum):
    """The rights of a key. Each role includes the ones before it."""

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


def is_key(text: str) -> bool:
    """Return whether a text has the form of a key that cannot be guessed."""
    return KEY.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a key: short, and not a key itself.

    It has no spaces, so that a line of the audit log can be read in one way only.
    """
    is_short = 0 < len(text) <= MAX_NAME_LENGTH and not text.startswith(PREFIX)
    return is_short and all(map(is_of_name, text))


def is_of_name(character: str) -> bool:
    """Return whether the name of a key can have this character."""
    return character.isalnum() or character in "._-"


def digest(key: str) -> str:
    """Return the SHA-256 of a key, which is all that is stored of it.

    A key is random and long, so a slow hash with a salt would add nothing.
    """
    return sha256(key.encode()).hexdigest()
