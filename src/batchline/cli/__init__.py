"""The command line."""

TYPE_CHECKING = False  # as in typing, which takes longer to import than this module

if TYPE_CHECKING:
    from typer import Typer

    from batchline.cli.commands import main

    app: Typer

__all__ = ["app", "main"]


def __getattr__(name: str) -> object:
    """Import the commands on their first use: processes that predict need none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchline.cli import commands

    return commands.main if name == "main" else commands.command_line()
