"""Who runs a command, for the audit log."""

import os
import pwd
import socket


def actor() -> str:
    """Return `cli:USER@HOST` in printable characters.

    The name is that of the user id. The environment could name anybody.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, a user needs no name
        user = str(os.getuid())
    return "cli:" + "".join(each if each.isprintable() else "?" for each in f"{user}@{_host()}")


def _host() -> str:
    try:
        return socket.gethostname()
    except OSError:
        return ""
