"""`python -m devservers mysql` runs a server until Ctrl-C; `… fetch` downloads missing servers."""

import argparse
import shlex
import signal
import sys
import time
from functools import partial
from urllib.parse import urlsplit

from devservers import NAMES, PROGRAMS, Server, ServerUnavailable, start
from devservers.clients import PACKAGES
from devservers.fetch import fetched
from devservers.prometheus import find_prometheus


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devservers", description=__doc__)
    parser.add_argument("action", choices=[*NAMES, "fetch"])
    action = parser.parse_args().action
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # exit as on Ctrl-C
    try:
        fetch() if action == "fetch" else serve(action)
    except ServerUnavailable as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def fetch() -> None:
    """Download every missing server, and exit with an error if one is not available."""
    missing = []
    find = {name: kind.find_program for name, kind in PROGRAMS.items()}
    find |= {package.server: partial(fetched, package) for package in PACKAGES.values()}
    find["prometheus"] = find_prometheus
    for name, find_program in find.items():
        try:
            print(f"{name}: {find_program()}", flush=True)
        except ServerUnavailable as error:
            missing.append(str(error))
    if missing:
        sys.exit("\n".join(missing))


def serve(name: str) -> None:
    with start(name) as server:
        print(exports(server, server.create_database()), flush=True)
        while server.running:
            time.sleep(0.2)
    sys.exit(f"{name} exited unexpectedly")


def exports(server: Server, url: str) -> str:
    """Return a shell command that sets the environment variables for this server."""
    if server.name == "postgresql":
        variables = {"DATABASE_URL": url}
    else:
        variables = {
            "MYSQL_SERVER": server.host,
            "MYSQL_PORT": str(server.port),
            "MYSQL_USER": server.user,
            "MYSQL_PASSWORD": server.password,
            "MYSQL_DATABASE": urlsplit(url).path.removeprefix("/"),
        }
    return "export " + " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items())


if __name__ == "__main__":
    main()
