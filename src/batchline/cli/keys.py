"""The commands that create, list and revoke API keys."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.api_keys import Role
from batchline.cli.actor import actor
from batchline.cli.options import DatabaseUrl, examples, one_of
from batchline.cli.output import minute_text, printable
from batchline.cli.wiring import configure, opened_for_a_moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchline.db.cruds.keys import ApiKey, NewKey
    from batchline.db.database import Database
    from batchline.errors import ConfigurationError

MAX_RATE = 1_000_000.0
MAX_ITEMS_PER_DAY = 10**15
TIMES = ("created", "last used", "revoked")
WIDTH_OF_DATE = 10
"""A narrower column would break a date."""

keys_app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

KeyName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the client that has the key.")
]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= MAX_RATE:
        raise typer.BadParameter(f"expected a number above 0, up to {MAX_RATE:,.0f}, got {text}")
    return rate


RoleName = Annotated[
    Role,
    typer.Option(
        **one_of(Role),
        help="read: items and models. write: also register items. admin: today the same as write, "
        "reserved for changes of models and keys.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        parser=_rate,
        metavar="NUMBER",
        help="Allow this number of requests per second, in each API process.",
    ),
]
ItemsPerDay = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_ITEMS_PER_DAY, help="Allow this number of items per day, in UTC."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="Read the key from this file, or write a new key to it if it does not exist."
    ),
]


@keys_app.command(
    epilog=examples(
        "batchline keys create shop --role write",
        "batchline keys create partner --role write --rate 50 --items-per-day 100000",
    )
)
def create(
    name: KeyName,
    role: RoleName,
    rate: Rate = None,
    items_per_day: ItemsPerDay = None,
    key_file: KeyFile = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create an API key and print it.

    The database stores only its SHA-256, so the key cannot be shown again. With --key-file, nothing
    is printed, and a second run with the same name and file changes nothing.
    """
    from batchline import api_keys
    from batchline.db.cruds import keys
    from batchline.db.cruds.keys import NewKey

    _check_name(name)
    who = actor()
    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        key = api_keys.generate() if key_file is None else _of_file(database, name, key_file)
        new = NewKey(name, role, api_keys.digest(key), rate, items_per_day)
        known = database.transaction(lambda c: keys.add(c, new, who))
    if known is not None:
        _check_same(known, new)
        typer.echo(f"API key {name} is stored already", err=True)
        return
    typer.echo(f"API key {name} is stored with the role {role.value}", err=True)
    if key_file is None:
        typer.echo(key)
        typer.echo("note: this key is not shown again", err=True)


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the API keys, their roles and limits, and when each was last used, in UTC."""
    from batchline.db.cruds import keys, usage

    with (
        opened_for_a_moment(configure({"database_url": database_url})) as database,
        database.read() as reading,
    ):
        found = keys.read(reading)
        today = datetime.now(UTC).date()
        used = {key: items for (key, _), items in usage.of_day(reading, today).items()}
    if as_json:
        shown = [_as_json(each, _used_today(each, used)) for each in found]
        typer.echo(json.dumps({"keys": shown}, ensure_ascii=False, default=str))
    elif found:
        _print_table(found, used)
    else:
        typer.echo("no API keys")


@keys_app.command()
def revoke(name: KeyName, database_url: DatabaseUrl = None) -> None:
    """Revoke an API key. Every API process rejects it within five seconds.

    Its name cannot be used again, because items and the audit log refer to it.
    """
    from batchline.db.cruds import keys

    _check_is_no_key(name)
    unknown = _error(f"no API key has the name {name!r}", "run `batchline keys list`")
    if not name.isprintable():  # the database might not take it
        raise unknown
    who = actor()
    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        is_new = database.transaction(lambda c: keys.revoke(c, name, who))
        with database.read() as connection:
            found = keys.find(connection, name)
    if found is None:
        raise unknown
    typer.echo(f"API key {name} is revoked" if is_new else f"API key {name} was revoked before")


def _of_file(database: "Database", name: str, path: Path) -> str:
    """Return the key in a file, which is written first if it does not exist."""
    from batchline import api_keys
    from batchline.cli import key_file
    from batchline.db.cruds import keys

    if not key_file.exists(path):
        with database.read() as connection:
            known = keys.find(connection, name)
        if known is not None:
            raise _taken(name)
        key_file.write(path, api_keys.generate())
        typer.echo(f"new API key in {path}", err=True)
    elif key_file.is_readable_by_others(path):
        typer.echo(
            f"warning: every user of this machine can read {path}\nhint: run `chmod o-r {path}`",
            err=True,
        )
    return key_file.read(path)


def _check_same(known: "ApiKey", new: "NewKey") -> None:
    """Check that a stored key is the one that a user asks for.

    Raises:
        ConfigurationError: the name or the key is taken, or the key was revoked.
    """
    if known.name != new.name:
        raise _error(f"this API key has the name {known.name!r} already", "use another --key-file")
    if known.sha256 != new.sha256:
        raise _taken(new.name)
    if known.revoked_at is not None:
        raise _error(
            f"the API key {new.name!r} was revoked",
            "delete the key file, and create a key with another name",
        )
    stored = (known.role, known.rate, known.items_per_day)
    if stored != (new.role, new.rate, new.items_per_day):
        raise _error(
            f"the API key {new.name!r} is stored with another role or other limits",
            "run `batchline keys list`, and give the command the same options",
        )


def _check_name(name: str) -> None:
    from batchline import api_keys

    _check_is_no_key(name)
    if not api_keys.is_name(name):
        wrong = next((each for each in name if not api_keys.is_of_name(each)), None)
        got = f"{len(name)} characters" if wrong is None else f"{wrong!r} in {name[:80]!r}"
        raise _error(
            f"the name of an API key must be 1 to {api_keys.MAX_NAME_LENGTH} letters, digits, "
            f"dots, underscores or dashes, got {got}",
            "choose another name",
        )


def _check_is_no_key(name: str) -> None:
    from batchline import api_keys

    if name.startswith(api_keys.PREFIX):  # it may be a key, which no output may show
        raise _error(
            f"the name of an API key must not begin with {api_keys.PREFIX}",
            "give the name of the key, not the key",
        )


def _taken(name: str) -> "ConfigurationError":
    return _error(
        f"another API key has the name {name!r}, or had it before it was revoked",
        "use another name, and list those in use with `batchline keys list`",
    )


def _error(detail: str, hint: str) -> "ConfigurationError":
    from batchline.errors import ConfigurationError

    return ConfigurationError(detail, hint=hint)


def _used_today(key: "ApiKey", used: "Mapping[int, int]") -> int | None:
    """Return the items that a key has registered today, which are counted if it has a limit."""
    return None if key.items_per_day is None else used.get(key.id, 0)


def _print_table(found: "Sequence[ApiKey]", used: "Mapping[int, int]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("name", "role", "created", "last used", "requests/s", "items today", "revoked"):
        table.add_column(
            title, overflow="fold", min_width=WIDTH_OF_DATE if title in TIMES else None
        )
    for each in found:
        today = _used_today(each, used)
        cells = (
            each.name,
            each.role,
            minute_text(each.created_at, "-"),
            minute_text(each.last_used_at, "never"),
            "-" if each.rate is None else _limit(each.rate, "g"),
            "-" if today is None else f"{today:,} of {_limit(each.items_per_day, ',')}",
            minute_text(each.revoked_at, "-"),
        )
        table.add_row(*(Text(printable(str(cell))) for cell in cells))
    Console().print(table)


def _limit(limit: object, form: str) -> str:
    """Return a limit as text. SQLite lets clients store any type."""
    return format(limit, form) if isinstance(limit, int | float) else str(limit)


def _as_json(key: "ApiKey", items_today: int | None) -> dict[str, Any]:
    times = {
        name: time and time.isoformat()
        for name, time in (
            ("created_at", key.created_at),
            ("last_used_at", key.last_used_at),
            ("revoked_at", key.revoked_at),
        )
    }
    limits = {"rate": key.rate, "items_per_day": key.items_per_day, "items_today": items_today}
    return {"name": key.name, "role": key.role.value, **limits, **times}
