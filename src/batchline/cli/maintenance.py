"""The commands that maintain a database: check, retry, db upgrade."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.actor import actor
from batchline.cli.check import findings
from batchline.cli.options import DatabaseUrl, LabelFilepath, ModelFilepath, examples
from batchline.cli.output import count
from batchline.cli.silence import opened_while_it_responds
from batchline.cli.wiring import configure, prepare_database

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.errors import ItemNotFound
    from batchline.registry.publish import Replacement
    from batchline.registry.renewal import Renewal

IDS_IN_A_STATEMENT = 1_000
IDS_IN_ERROR = 5
IDS_IN_AUDIT = 20
"""Ids of `retry --id` that the audit log names."""

app = typer.Typer()
db_app = typer.Typer(help="Migrate the database.", no_args_is_help=True)


@app.command()
def check(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Check the settings, the database and the models.

    It connects to the database, proves that items and results can be stored, and loads the active
    version of each model. It prints a ✓ for each part that works, and an error with a hint for each
    that does not.
    """
    flags = locals()
    reported: set[str] = set()
    for found in findings(flags):
        if isinstance(found, str):
            typer.echo(f"✓ {found}")
        elif found.detail not in reported:  # two checks may find the same error of the database
            reported.add(found.detail)
            typer.echo(f"✗ {found.detail}" + (f"\n  hint: {found.hint}" if found.hint else ""))
    if reported:
        raise typer.Exit(1)


@app.command(
    epilog=examples("batchline retry --code model_unavailable", "batchline retry --id 17 --id 18")
)
def retry(
    item_id: Annotated[
        list[int] | None,
        typer.Option("--id", min=1, help="Retry the item with this id. Repeat it for more items."),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Retry all items that failed with this code.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(help="With --code, retry only items with this message of `failures`."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry all failed items.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make failed items pending again. The next run predicts them.

    Exit code 1: no failed item has such an id, or such a code and message.
    """
    given = sum((bool(item_id), code is not None, everything))
    if given != 1:
        raise typer.BadParameter(f"give one of --id, --code and --all, got {given or 'none'}")
    if message is not None and code is None:
        raise typer.BadParameter("--message needs --code")
    from batchline.db import retries

    asked = {"ids": (item_id or [])[:IDS_IN_AUDIT], "code": code, "message": message}
    with opened_while_it_responds(configure({"database_url": database_url})) as database:
        parts: Iterable[Sequence[int]] = _in_parts(item_id) if item_id else [[]]
        if code is not None and message is not None:
            parts = _in_parts(_of_group(database, code, message))
        total = retries.retry(database, parts, code, actor(), asked)
        if not total and not everything:
            raise _nothing_to_retry(database, item_id or [], code, message)
    if item_id and total < len(ids := set(item_id)):
        missing = len(ids) - total
        are = "is not the id of a failed item" if missing == 1 else "are not ids of failed items"
        typer.echo(f"note: {missing} of the {len(ids)} ids {are}", err=True)
    typer.echo(f"{count(total, 'item')} pending again")


def _of_group(database: "Database", code: str, message: str) -> list[int]:
    from batchline.db.cruds.failures import item_ids_of_group

    with database.read() as connection:
        return list(item_ids_of_group(connection, code, message))


def _in_parts(ids: Iterable[int]) -> Iterator[list[int]]:
    """Return each id once, in parts that one statement can name."""
    found = list(dict.fromkeys(ids))
    for start in range(0, len(found), IDS_IN_A_STATEMENT):
        yield found[start : start + IDS_IN_A_STATEMENT]


@db_app.command()
def upgrade(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Migrate the database and add the default model to it."""
    settings = configure(locals())
    try:
        renewals, replacement = prepare_database(settings)
    except KeyboardInterrupt:
        typer.echo("stopped: to finish it, run `batchline db upgrade` again", err=True)
        raise typer.Exit(128 + signal.SIGINT) from None
    typer.echo("database migrated")
    for each in renewals:
        _print_renewal(each)
    if replacement is not None:
        _print_replacement(replacement, settings)


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


def _print_replacement(replacement: "Replacement", settings: "Settings") -> None:
    labels = settings.label_filepath
    typer.echo(
        f"{replacement.new}: active instead of version {replacement.old.number}, "
        f"because MODEL_FILEPATH is {settings.model_filepath}"
        + ("" if labels is None else f" and LABEL_FILEPATH is {labels}")
    )


def _nothing_to_retry(
    database: "Database", item_ids: Sequence[int], code: str | None, message: str | None
) -> "ItemNotFound":
    from batchline.errors import ItemNotFound

    detail = f"no failed item has the code {code}"
    detail += "" if message is None else f" and the message {message}"
    if code is None:
        detail = _why_not_failed(database, list(dict.fromkeys(item_ids))[:IDS_IN_ERROR])
    return ItemNotFound(detail, hint="run `batchline failures` to see which items failed")


def _why_not_failed(database: "Database", item_ids: Sequence[int]) -> str:
    from batchline.db.cruds import items

    with database.read() as connection:
        known = items.statuses(connection, item_ids)
    return ", ".join(
        f"item {each} has the status {known[each]}"
        if each in known
        else f"no item has the id {each}"
        for each in item_ids
    )
