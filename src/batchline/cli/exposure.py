"""Who can reach the API, and what they need for it: decided at the start."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchline.api.access import Rules
    from batchline.configurations import Settings
    from batchline.db.database import Database


def listen_if_allowed(settings: "Settings", database: "Database", command: str) -> socket.socket:
    """Return a socket that listens, if no other machine can reach an API that requires no key.

    Raises:
        ConfigurationError: one could, and `AUTH=off` does not say that this is intended.
    """
    from batchline.api.listener import listen

    listener = listen(settings.host, settings.port, command)
    try:
        if settings.auth == "auto" and not _is_loopback(listener):
            _check_keys_exist(settings, database, command)
    except BaseException:
        listener.close()
        raise
    return listener


def _check_keys_exist(settings: "Settings", database: "Database", command: str) -> None:
    from batchline.db.cruds import keys
    from batchline.errors import ConfigurationError

    with database.read() as connection:
        if keys.exist(connection):
            return
    raise ConfigurationError(
        f"other machines can reach {settings.host}, and no API key exists",
        hint="run `batchline keys create NAME --role write`, "
        f"then `batchline {command} --host {settings.host}`",
    )


def _is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it. Its address tells, since `HOST` may be a name."""
    from ipaddress import ip_address

    address = ip_address(listener.getsockname()[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def rules_of(settings: "Settings") -> "Rules":
    """Return the rules for access, and log if no keys are checked."""
    import structlog

    from batchline.api.access import Auth, Rules
    from batchline.api.hosts import Hosts

    auth = Auth(settings.auth)
    if auth is Auth.OFF:
        structlog.get_logger(__name__).warning(
            "AUTH=off: the API requires no keys, so a proxy must check who its clients are"
        )
    hosts = Hosts(settings.hosts) if settings.hosts else Hosts.by_default(settings.host)
    return Rules(auth, hosts, settings.origins)
