"""`python -m devservers mysql` runs a server until Ctrl-C; `… fetch` fetches what is missing."""

import argparse
import shlex
import signal
import sys
import time
from urllib.parse import urlsplit

from devservers import NAMES, SERVERS, Server, ServerUnavailable, start


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devservers", description=__doc__)
    parser.add_argument("what", choices=[*NAMES, "fetch"])
    what = parser.parse_args().what
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as on Ctrl-C
    try:
        fetch() if what == "fetch" else serve(what)
    except ServerUnavailable as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def fetch() -> None:
    """Try every server, even if one cannot be had, and fail in the end if any could not."""
    missing = []
    for name, kind in SERVERS.items():
        try:
            print(f"{name}: {kind.find_program()}", flush=True)
        except ServerUnavailable as error:
            missing.append(str(error))
    if missing:
        sys.exit("\n".join(missing))


def serve(name: str) -> None:
    with start(name) as server:
        print(exports(server, server.create_database()), flush=True)
        while server.running:
            time.sleep(0.2)
    sys.exit(f"{name} ended by itself")


def exports(server: Server, url: str) -> str:
    """A line to paste into another shell."""
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
