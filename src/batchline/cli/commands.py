"""The commands, and how their errors are printed.

Commands import what they need when they run, so that `--help` is quick.
"""

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from batchline import __version__
from batchline.cli import predict
from batchline.cli.output import error_text
from batchline.errors import BatchlineError


def command_line(words: Sequence[str] = ()) -> typer.Typer:
    """Return all commands, or `predict` alone if the first of these words is its name.

    A run of `predict` may take less than a second. Importing the others takes a tenth of that.
    """
    app = typer.Typer(
        name="batchline",
        help="Register items now over HTTP or SQL, predict them in batches, read them by id.\n\n"
        "Start with `batchline demo`, then `batchline up`. Options marked \\[env: NAME] can also "
        "be set with that environment variable.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(version)
    if list(words[:1]) == ["predict"]:
        app.add_typer(predict.app)
    else:
        _add_all(app)
    _join_lines(app)
    return app


def _add_all(app: typer.Typer) -> None:
    """Add all commands, in the order of the help."""
    from batchline.cli import (
        audit,
        backfill,
        failures,
        keys,
        maintenance,
        models,
        service,
        status,
        verify,
    )

    app.add_typer(service.app)
    app.add_typer(maintenance.app)
    app.add_typer(status.app)
    app.add_typer(failures.app)
    app.add_typer(backfill.app)
    app.add_typer(verify.app)
    app.add_typer(predict.app)
    app.add_typer(audit.app)
    app.add_typer(models.models_app, name="models")
    app.add_typer(keys.keys_app, name="keys")
    app.add_typer(maintenance.db_app, name="db")


def _join_lines(group: typer.Typer) -> None:
    """Join the lines of each paragraph of a help text, so that the terminal's width wraps it.

    Rich would keep the line breaks of the source in all paragraphs except the first.
    """
    for command in group.registered_commands:
        text = inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _join_lines(inner.typer_instance)


def version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"batchline {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Print a known error as a sentence and a hint, without a traceback."""
    try:
        command_line(sys.argv[1:])()
    except BatchlineError as error:
        typer.echo(error_text(error), err=True)
        raise SystemExit(1) from None
