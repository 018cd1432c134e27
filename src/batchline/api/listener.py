"""Bind the port of the API, before anything else starts."""

import errno
import socket

from batchline.constants import UNREAD_RESPONSE_BYTES
from batchline.errors import ConfigurationError


def listen(host: str, port: int, command: str, *, setting: str = "") -> socket.socket:
    """Return a socket that listens on this host and port. The hint of an error names the command.

    Port 0 is any free port.

    Args:
        setting: the variable with the port, if no option of the command sets it.

    Raises:
        ConfigurationError: the process cannot listen on this host and port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]  # Python repeats the address
        where = f"{host}, port {port}" if port else host
        raise ConfigurationError(
            f"cannot listen on {where}: {reason}", hint=_hint(error, port, command, setting)
        ) from error
    # What the kernel has not sent is short, so that a client that reads slowly is seen to read.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNREAD_RESPONSE_BYTES)
    return listener


def _hint(error: OSError, port: int, command: str, setting: str) -> str:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
        return "set HOST to an address of this machine"
    other = port + 1 if 1024 <= port < 65535 else 8001  # only root may use the ports below 1024
    if setting:
        return f"choose another port: {setting}={other} batchline {command}"
    return f"choose another port: batchline {command} --port {other}"
