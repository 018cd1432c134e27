"""`python -m batchline` is the same as `batchline`. Ctrl-C ends both with a word from the start."""

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    handler = signal.signal(signal.SIGINT, _stop)
    from batchline.cli.commands import main as run

    if sys.argv[1:2] != ["predict"]:  # which takes over once its options are read
        signal.signal(signal.SIGINT, handler)
    run()


def _stop(number: int, frame: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(128 + number)  # an exception could get lost in an import


if __name__ == "__main__":
    main()
