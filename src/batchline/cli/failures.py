"""The command that shows why items failed."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.options import DatabaseUrl
from batchline.cli.output import count, printable, time_text
from batchline.cli.silence import opened_while_it_responds
from batchline.cli.wiring import configure

if TYPE_CHECKING:
    from batchline.db.cruds.failures import Group

app = typer.Typer()


@app.command()
def failures(
    model: Annotated[str | None, typer.Option(help="Show failed items of this model.")] = None,
    code: Annotated[str | None, typer.Option(help="Show items that failed with this code.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show why items failed, grouped by code and message.

    An asterisk in a message stands for a number or a quoted value. The message of one item follows,
    unless it could show a value of a row. The newest 100,000 failures are read. `batchline retry
    --code CODE --message MESSAGE` retries the items of a group.
    """
    from batchline.constants import FAILURES_READ
    from batchline.db.cruds.failures import groups
    from batchline.db.cruds.versions import all_versions

    settings = configure({"database_url": database_url})
    with opened_while_it_responds(settings) as database, database.read() as connection:
        found, read = groups(connection, code=code, model=model, limit=FAILURES_READ)
        is_known = model is None or bool(all_versions(connection, model))
    if as_json:
        texts = [
            asdict(each) | {"newest": each.newest and each.newest.isoformat()} for each in found
        ]
        typer.echo(json.dumps({"failures_read": read, "groups": texts}, ensure_ascii=False))
        return
    for each in found:
        _print(each)
    if not found:
        typer.echo(_nothing(model if not is_known else None, code))
    elif read == FAILURES_READ:
        typer.echo(f"note: only the newest {read:,} failures were read", err=True)


def _nothing(unknown_model: str | None, code: str | None) -> str:
    if unknown_model is not None:
        return f"no model has the name {printable(unknown_model)}"
    return "no failed items" if code is None else f"no failed item has the code {printable(code)}"


def _print(group: "Group") -> None:
    newest = f", newest {time_text(group.newest)}" if group.newest else ""
    typer.echo(f"{count(group.items, 'item')} of {group.model}: {group.code}{newest}")
    typer.echo(f"  {printable(group.message)}")
    if group.example_message is not None:
        typer.echo(f"  item {group.examples[0]}: {printable(group.example_message)}")
    more = ", …" if group.items > len(group.examples) else ""
    typer.echo(f"  ids: {', '.join(map(str, group.examples))}{more}")
