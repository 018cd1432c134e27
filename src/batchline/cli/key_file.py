"""The file in which a deployment keeps an API key."""

import os
import stat
from pathlib import Path

from batchline import api_keys
from batchline.errors import ConfigurationError

MAX_BYTES = 4096


def exists(path: Path) -> bool:
    """Return whether there is a file.

    Raises:
        ConfigurationError: its folder cannot be searched, or its name is too long.
    """
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, "cannot be read", error) from error


def read(path: Path) -> str:
    """Return the key in this file.

    Raises:
        ConfigurationError: the file cannot be read, or its content is no key. The message does not
            contain it.
    """
    from batchline.ml.regular_file import regular

    try:
        with regular(path).open("rb") as file:
            content = file.read(MAX_BYTES).decode("ascii", "replace").strip()
    except OSError as error:
        raise _unusable(path, "cannot be read", error) from error
    if not api_keys.is_key(content):
        raise ConfigurationError(
            f"the file {path} contains no API key: it must be {api_keys.PREFIX} and "
            f"{api_keys.MIN_SECRET} to {api_keys.MAX_SECRET} letters, digits, - or _",
            hint=f"delete {path}, and run the command again to write a new key to it",
        )
    return content


def write(path: Path, key: str) -> None:
    """Write a key to a new file that only its owner can read.

    Raises:
        ConfigurationError: the file cannot be created.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123, of a descriptor
            file.write(f"{key}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise _unusable(path, "cannot be written", error) from error


def is_readable_by_others(path: Path) -> bool:
    """Return whether every user of this machine can read the file."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def _unusable(path: Path, what: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the file {path} {what}: {error.strerror}",
        hint="give --key-file a file in a folder that this user can write to",
    )
