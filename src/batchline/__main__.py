"""`python -m batchline` is the same as `batchline`. Ctrl-C ends both with a word from the start."""

import os
import signal
import sys
from contextlib import suppress

WITHOUT_CHILD = {"--help", "--check", "--query", "--into"}
"""Options of `predict` with which it predicts in its own process, or not at all."""


def main() -> None:
    """Run the command line."""
    handler = signal.signal(signal.SIGINT, _stop)
    words = sys.argv[1:]
    if words[:1] == ["predict"]:
        _predict(words)  # which handles the signal itself once its options are read
    else:
        from batchline.cli.commands import main as run

        signal.signal(signal.SIGINT, handler)
        run()


def _predict(words: list[str]) -> None:
    """Run `predict`, and let what predicts be imported by another process meanwhile."""
    from batchline import ahead

    if WITHOUT_CHILD.isdisjoint(word.partition("=")[0] for word in words):
        with suppress(OSError):  # too many processes: one of them is needed later
            ahead.start("batchline.cli.predict_work", "run_first")
    from batchline.cli.commands import main as run

    try:
        run()
    finally:
        if unused := ahead.take():
            unused.end()


def _stop(number: int, frame: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(128 + number)  # an exception could get lost in an import


if __name__ == "__main__":
    main()
