"""The command that shows who changed models, keys or many items at once."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.options import DatabaseUrl
from batchline.cli.output import printable, time_text
from batchline.cli.wiring import configure, opened_for_a_moment

if TYPE_CHECKING:
    from batchline.db.cruds.audit import Entry

app = typer.Typer()

SHOWN = 100
MAX_SHOWN = 1_000_000


@app.command()
def audit(
    limit: Annotated[
        int, typer.Option(min=1, max=MAX_SHOWN, help="Show this number of entries.")
    ] = SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show who changed models, keys or many items at once, the newest change first.

    Changes by SQL clients are not recorded.
    """
    from batchline.db.cruds import audit

    with (
        opened_for_a_moment(configure({"database_url": database_url})) as database,
        database.read() as reading,
    ):
        found = audit.newest(reading, limit)
    if as_json:
        entries = [_as_json(each) for each in found]
        typer.echo(json.dumps({"entries": entries}, ensure_ascii=False, default=str))
        return
    for each in found:
        typer.echo(printable(_line(each)))
    if not found:
        typer.echo("no entries")


def _line(entry: "Entry") -> str:
    words = (time_text(entry.created_at), entry.actor, entry.action, entry.subject, entry.detail)
    return "  ".join(map(str, filter(None, words)))


def _as_json(entry: "Entry") -> dict[str, object]:
    created_at = entry.created_at and entry.created_at.isoformat()
    return asdict(entry) | {"created_at": created_at, "detail": _parsed(entry.detail)}


def _parsed(detail: str | None) -> object:
    try:
        return None if detail is None else json.loads(detail)
    except ValueError:  # an SQL client wrote it
        return detail
