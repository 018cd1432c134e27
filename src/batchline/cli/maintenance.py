"""The commands that look after the database: migrate, check, retry."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.cli.options import DatabaseUrl, LabelFilepath, ModelFilepath
from batchline.cli.wiring import (
    check_database,
    check_model,
    check_models,
    configure,
    opened,
    prepare,
)

if TYPE_CHECKING:
    from batchline.configurations import Settings

app = typer.Typer()
db_app = typer.Typer(help="Migrate the database.", no_args_is_help=True)


@app.command()
def check(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Say what is wrong with this configuration, with a hint for each finding."""
    settings, findings = _findings(locals())
    for detail, hint in findings:
        typer.echo(f"✗ {detail}\n  hint: {hint}")
    if findings or settings is None:
        raise typer.Exit(1)
    from batchline.db.dialects.connections import with_driver

    typer.echo(f"✓ the database answers: {with_driver(settings.url()).render_as_string()}")
    typer.echo(f"✓ the model works: {settings.model_filepath}")


@app.command()
def retry(
    item_id: Annotated[
        list[int] | None, typer.Option("--id", min=1, help="This item; may be repeated.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="All that failed with this code, such as model_error.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make failed items pending again; the next run predicts them."""
    if sum((bool(item_id), code is not None, everything)) != 1:
        raise typer.BadParameter("say which: --id ID, --code CODE or --all")
    from batchline.constants import RETRY_ITEMS
    from batchline.db.cruds import results

    total = 0
    with opened(configure({"database_url": database_url})) as database:
        while found := database.transaction(
            lambda connection: results.retry_failed(
                connection, item_ids=item_id or [], code=code, limit=RETRY_ITEMS
            )
        ):
            total += found
    typer.echo(f"{total} items are pending again")


@db_app.command()
def upgrade(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Migrate the database, and publish the model's signature for the API to check rows with."""
    settings = configure(locals())
    prepare(settings)
    typer.echo("the database is ready")


def _findings(flags: dict[str, Any]) -> tuple["Settings | None", list[tuple[str, str]]]:
    """The settings, if they can be read, and what is wrong: in words, and with a hint each."""
    from batchline.configurations import read_settings
    from batchline.errors import BatchlineError

    try:
        settings = read_settings(**flags)
    except BatchlineError as error:
        return None, [(error.detail, error.hint)]
    findings = []
    for attempt in (check_database, check_model, check_models):
        try:
            attempt(settings)
        except BatchlineError as error:
            findings.append((error.detail, error.hint))
    return settings, list(dict.fromkeys(findings))  # two of them may need the database
