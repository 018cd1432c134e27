"""The commands that maintain a database: check, retry, db upgrade."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.cli.options import DatabaseUrl, LabelFilepath, ModelFilepath
from batchline.cli.output import count
from batchline.cli.wiring import (
    check_active_models,
    check_database,
    check_default_model,
    configure,
    opened,
    prepare_database,
)

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.registry.renewal import Renewal

app = typer.Typer()
db_app = typer.Typer(help="Migrate the database.", no_args_is_help=True)


@app.command()
def check(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Report the errors of this configuration, with a hint for each."""
    settings, errors = _find_errors(locals())
    for detail, hint in errors:
        typer.echo(f"✗ {detail}\n  hint: {hint}")
    if errors or settings is None:
        raise typer.Exit(1)
    from batchline.db.dialects.connections import with_driver

    typer.echo(f"✓ database: {with_driver(settings.url()).render_as_string()}")
    typer.echo(f"✓ model: {settings.model_filepath}")


@app.command()
def retry(
    item_id: Annotated[
        list[int] | None,
        typer.Option("--id", min=1, help="Retry the item with this id. Repeat it for more items."),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Retry all items that failed with this code.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry all failed items.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make failed items pending again. The next run predicts them."""
    given = sum((bool(item_id), code is not None, everything))
    if given != 1:
        raise typer.BadParameter(f"give one of --id, --code and --all, got {given or 'none'}")
    from batchline.constants import RETRY_ITEMS
    from batchline.db.cruds import results

    total = 0
    with opened(configure({"database_url": database_url})) as database:
        while retried := database.transaction(
            lambda connection: results.retry_failed(
                connection, item_ids=item_id or [], code=code, limit=RETRY_ITEMS
            )
        ):
            total += retried
    typer.echo(f"{count(total, 'item')} pending again")


@db_app.command()
def upgrade(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Migrate the database and add the default model to it."""
    settings = configure(locals())
    renewals = prepare_database(settings)
    typer.echo("database migrated")
    for each in renewals:
        _print_renewal(each)


def _print_renewal(renewal: "Renewal") -> None:
    if renewal.problem is not None:
        typer.echo(f"{renewal.version}: not examined again: {renewal.problem.detail}")
        typer.echo(f"hint: {renewal.problem.hint}")
    elif renewal.successor is not None:
        typer.echo(
            f"{renewal.version}: its predictions get another form, so that it is added again as "
            f"version {renewal.successor.number}"
        )
    else:
        typer.echo(f"{renewal.version}: examined again, predictions keep their form")


def _find_errors(flags: dict[str, Any]) -> tuple["Settings | None", list[tuple[str, str]]]:
    """Return the settings, if they are valid, and the detail and hint of each error."""
    from batchline.configurations import read_settings
    from batchline.errors import BatchlineError

    try:
        settings = read_settings(**flags)
    except BatchlineError as error:
        return None, [(error.detail, error.hint)]
    errors = []
    for check_part in (check_database, check_default_model, check_active_models):
        try:
            check_part(settings)
        except BatchlineError as error:
            errors.append((error.detail, error.hint))
    return settings, list(dict.fromkeys(errors))  # two checks may find the same database error
