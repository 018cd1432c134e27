"""Who can reach the API, and what they need for it: decided at the start."""

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchline.api.access import Rules
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.errors import ConfigurationError


def listen_if_allowed(settings: "Settings", database: "Database", command: str) -> socket.socket:
    """Return a socket that listens, if no other machine can reach an API that requires no key.

    Raises:
        ConfigurationError: one could, and `AUTH=off` does not say that this is intended.
    """
    from batchline.api.listener import listen

    listener = listen(settings.host, settings.port, command)
    try:
        error = _missing_key(settings, database, listener, command)
        if error is not None and settings.auth != "on":
            raise error
    except BaseException:
        listener.close()
        raise
    return listener


def check_keys(settings: "Settings", database: "Database") -> None:
    """Check that an API with these settings would start, and that a client could use it.

    Raises:
        ConfigurationError: it has a host of another machine, or it lacks a key.
    """
    from batchline.api.listener import listen

    with listen(settings.host, 0, "up") as listener:  # any port, since the API may be running
        error = _missing_key(settings, database, listener, "up")
    if error is not None:
        raise error


def log_listening(settings: "Settings", database: "Database", listener: socket.socket) -> None:
    """Log where the API listens and whether it requires keys, and warn if nobody has one."""
    import structlog

    log = structlog.get_logger(__name__)
    keys = {"on": "required", "off": "off"}.get(settings.auth)
    log.info(
        "listening",
        on=_where(settings.host, listener),
        keys=keys or ("required" if _has_keys(database) else "none, since none exists"),
    )
    error = _missing_key(settings, database, listener, "api")
    if error is not None:
        log.warning(error.detail, hint=error.hint)


def _missing_key(
    settings: "Settings", database: "Database", listener: socket.socket, command: str
) -> "ConfigurationError | None":
    """Return an error if the API needs a key and none was ever created."""
    from batchline.errors import ConfigurationError

    is_needed = {"on": True, "off": False}.get(settings.auth, not _is_loopback(listener))
    if not is_needed or _has_keys(database):
        return None
    create = "run `batchline keys create NAME --role write`"
    if settings.auth == "on":
        return ConfigurationError("AUTH=on requires an API key, and no API key exists", hint=create)
    return ConfigurationError(
        f"other machines can reach {settings.host}, and no API key exists",
        hint=f"{create}, then `batchline {command} --host {settings.host}`",
    )


def _has_keys(database: "Database") -> bool:
    from batchline.db.cruds import keys

    with database.read() as connection:
        return keys.exist(connection)


def _where(host: str, listener: socket.socket) -> str:
    """Return the address of the API, or that it has each address of this machine."""
    from ipaddress import ip_address

    address, port = listener.getsockname()[:2]
    if ip_address(address.partition("%")[0]).is_unspecified:
        return f"port {port} of every address of this machine"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it. Its address tells, since `HOST` may be a name."""
    from ipaddress import ip_address

    address = ip_address(listener.getsockname()[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def rules_of(settings: "Settings", listener: socket.socket | None = None) -> "Rules":
    """Return the rules for access, and log if no keys are checked.

    If other machines can reach the listener, keys are required even if an SQL client deletes them.
    """
    import structlog

    from batchline.api.access import Auth, Rules
    from batchline.api.hosts import Hosts

    auth = Auth(settings.auth)
    if auth is Auth.OFF:
        structlog.get_logger(__name__).warning(
            "AUTH=off: the API requires no keys, so a proxy must check who its clients are"
        )
    if auth is Auth.AUTO and listener is not None and not _is_loopback(listener):
        auth = Auth.ON
    hosts = Hosts(settings.hosts) if settings.hosts else Hosts.by_default(settings.host)
    return Rules(auth, hosts, settings.origins)
