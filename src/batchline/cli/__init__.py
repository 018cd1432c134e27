"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from typing import Annotated

import typer

from batchline import __version__
from batchline.cli import (
    audit,
    backfill,
    failures,
    keys,
    maintenance,
    models,
    predict,
    service,
    status,
    verify,
)

app = typer.Typer(
    name="batchline",
    help="Register items now over HTTP or SQL, predict them in batches, read them by id.\n\n"
    "Start with `batchline demo`, then `batchline up`. Options marked \\[env: NAME] can also be "
    "set with that environment variable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
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


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"batchline {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Print a known error as a sentence and a hint, without a traceback."""
    from batchline.errors import BatchlineError

    try:
        app()
    except BatchlineError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        typer.echo(f"error: {error.detail}{hint}", err=True)
        raise SystemExit(1) from None
