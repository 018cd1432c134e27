"""The commands about models: add, look at, choose, check."""

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline.cli.options import DatabaseUrl, WorkerThreads
from batchline.cli.wiring import configure, open_database, runtime_of
from batchline.cli.work import work_off_backfill

if TYPE_CHECKING:
    from batchline.db.models import Record
    from batchline.ml.examination.report import ModelReport


class Answered(StrEnum):
    """The states of items that a backfill may take."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


app = typer.Typer()
models_app = typer.Typer(help="The models and their versions.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Name = Annotated[str, typer.Argument(help="The model's name, such as flowers.")]
File = Annotated[str, typer.Argument(help="An ONNX file: its path, or a URL that fsspec can read.")]
Labels = Annotated[
    Path | None, typer.Option(help="JSON: class index to name, for classifiers without names.")
]
Sample = Annotated[
    Path | None,
    typer.Option(help="Rows to try it on: data as in POST /predict; made up if left out."),
]
AllowNonFinite = Annotated[
    bool, typer.Option("--allow-non-finite", help="Write NaN and infinity as null.")
]


@models_app.command()
def add(
    name: Name,
    file: File,
    labels: Labels = None,
    sample: Sample = None,
    activate: Annotated[
        bool, typer.Option(help="Predict with it from now on. A model's first version always does.")
    ] = True,
    allow_non_finite: AllowNonFinite = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Check a model and store it as a version: the API takes its rows, and jobs predict them."""
    settings = configure({"database_url": database_url})
    from batchline.registry import publish

    publish.check_name(name)
    model = publish.ModelFile.read(file, labels, allow_non_finite=allow_non_finite)
    database = open_database(settings)
    known = publish.find(database, name, model)
    if known is not None:
        typer.echo(f"{name} has this file already, as version {known.version}; nothing is stored")
        hint = f"batchline models activate {name} {known.version}"
        if activate and not known.active:
            typer.echo(f"hint: it is not active; `{hint}` changes that")
        return
    if sys.stderr.isatty():
        typer.echo("trying it out …", err=True)
    found = model.examine(_read_sample(sample), runtime_of(settings))
    record = publish.add(database, name, model, found, active=activate)
    database.close()
    state = "is active" if record.active else "is stored, and not active"
    typer.echo(f"version {record.version} of {name} {state}")
    if not model.is_stored:
        typer.echo(f"it is too large for the database: every job reads it from {record.location}")
    _print_examination(found)


@models_app.command()
def check(
    file: File,
    labels: Labels = None,
    sample: Sample = None,
    allow_non_finite: AllowNonFinite = False,
) -> None:
    """Check a model as `add` does, and store nothing."""
    settings = configure({})
    from batchline.registry.publish import ModelFile

    model = ModelFile.read(file, labels, allow_non_finite=allow_non_finite)
    _print_examination(model.examine(_read_sample(sample), runtime_of(settings)))


@models_app.command("list")
def list_models(database_url: DatabaseUrl = None) -> None:
    """The versions of all models."""
    from rich.console import Console
    from rich.table import Table

    from batchline.db.cruds import versions

    database = open_database(configure({"database_url": database_url}))
    with database.read() as connection:
        found = versions.all_versions(connection)
    database.close()
    table = Table("model", "version", "active", "sha256", "rows are", "added")
    for each in found:
        table.add_row(
            each.name,
            str(each.version),
            "active" if each.active else "",
            each.sha256[:12],
            _batching(each).verdict if each.batching else "of an older Batchline",
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
    Console().print(table)


@models_app.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(help="Else the active one.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """What a model takes and gives, how it is batched, and a request to paste."""
    from batchline.ml.signature import Signature

    settings = configure({"database_url": database_url})
    record = _version(database_url, name, version)
    state = "active" if record.active else "not active"
    typer.echo(
        f"{name}, version {record.version}, {state}, added {record.created_at:%Y-%m-%d %H:%M}"
    )
    where = record.location or "the database"
    typer.echo(f"file: {record.size or 0} bytes in {where}, sha256 {record.sha256}")
    signature = Signature.from_json(json.loads(record.signature))
    _print_signature(signature)
    if record.batching:
        _print_batching(_batching(record), json.loads(record.notes or "[]"))
    body = {"model": name, "data": signature.example()}
    typer.echo("a request:")
    typer.echo(
        f"  curl http://{settings.host}:{settings.port}/predict -d '{_quoted(json.dumps(body))}'"
    )


@models_app.command()
def activate(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="Its number, see `models list`.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Predict with this version from now on; a run in progress changes over at its next batch."""
    from batchline.db.cruds import versions

    record = _version(database_url, name, version)
    database = open_database(configure({"database_url": database_url}))
    database.transaction(lambda connection: versions.activate(connection, name, record.id))
    database.close()
    typer.echo(f"version {version} of {name} is active")


@models_app.command()
def diff(
    name: Name,
    one: Annotated[int, typer.Argument(min=1, metavar="V1", help="A version.")],
    other: Annotated[int, typer.Argument(min=1, metavar="V2", help="Another version.")],
    database_url: DatabaseUrl = None,
) -> None:
    """How two versions differ over the items that both have predicted."""
    from batchline.constants import BEFORE_ALL_IDS, DIFF_PAGE_ITEMS
    from batchline.db.cruds import versions
    from batchline.ml.comparison import Comparison

    first, second = (_version(database_url, name, version).id for version in (one, other))
    database = open_database(configure({"database_url": database_url}))
    found, after = Comparison(), BEFORE_ALL_IDS
    with database.read() as connection:
        while page := versions.pairs(connection, (first, second), after, DIFF_PAGE_ITEMS):
            for item_id, prediction, other_prediction in page:
                found.add(item_id, prediction, other_prediction)
            after = page[-1].item_id
    database.close()
    typer.echo(f"items that versions {one} and {other} of {name} both predicted: {found.items}")
    if not found.items:
        typer.echo(f"hint: batchline backfill {name} --version {other}")
        return
    typer.echo(f"another top label, or text: {found.changed} ({found.changed / found.items:.2%})")
    typer.echo(f"difference of a number: largest {found.largest:.3g}, mean {found.mean:.3g}")
    typer.echo("most changed:")
    for apart, item_id in sorted(found.most_changed, reverse=True):
        typer.echo(f"  item {item_id}: {apart:.3g}")


@app.command()
def backfill(
    name: Name,
    version: Annotated[int | None, typer.Option(help="Else the active one.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Items created then or later, in UTC.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Items created before, in UTC.")] = None,
    status: Annotated[
        Answered, typer.Option(help="Items that succeeded, failed or were canceled.")
    ] = Answered.SUCCEEDED,
    database_url: DatabaseUrl = None,
    worker_threads: WorkerThreads = None,
) -> None:
    """Predict stored items again with another version; what they have been answered stays.

    Every job helps, as soon as nothing is pending; Ctrl-C leaves the rest to the others.
    """
    from batchline.db import backfills

    settings = configure({"database_url": database_url, "worker_threads": worker_threads})
    record = _version(database_url, name, version)
    database = open_database(settings)
    backfill_id = database.transaction(
        lambda connection: backfills.start(
            connection,
            record,
            status=status.value,
            since=None if since is None else since.replace(tzinfo=UTC),
            until=None if until is None else until.replace(tzinfo=UTC),
        )
    )
    if backfill_id is None:
        typer.echo("there are no items")
        return
    work_off_backfill(database, settings, backfill_id, f"version {record.version} of {name}")


def _version(database_url: str | None, name: str, version: int | None) -> "Record":
    from batchline.db.cruds import versions
    from batchline.errors import ConfigurationError

    database = open_database(configure({"database_url": database_url}))
    with database.read() as connection:
        found = versions.all_versions(connection, name)
        names = sorted(versions.active_ids(connection))
    database.close()
    if not found:
        raise ConfigurationError(
            f"there is no model {name}", hint=f"the models are: {', '.join(names) or 'none'}"
        )
    for each in found:
        if each.version == version or (version is None and each.active):
            return each
    raise ConfigurationError(
        f"{name} has no version {version}",
        hint=f"its versions are: {', '.join(str(each.version) for each in found)}",
    )


def _read_sample(sample: Path | None) -> tuple[str, bytes] | None:
    from batchline.errors import ConfigurationError

    if sample is None:
        return None
    try:
        return str(sample), sample.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the sample file {sample} cannot be read: {error.strerror}",
            hint="name a file with rows as in POST /predict",
        ) from error


def _print_examination(found: "ModelReport") -> None:
    _print_signature(found.signature)
    _print_batching(found.batching, found.notes)


def _print_signature(signature: Any) -> None:
    for each in signature.inputs:
        once = ", once an item" if each.per_item else ""
        typer.echo(f"takes {each.name}: {each.dtype} {_shape(each.shape)}{once}")
    if signature.labels is not None:
        typer.echo(f"gives a probability for each of: {', '.join(signature.labels)}")
        return
    for each in signature.outputs:
        typer.echo(f"gives {each.name}: {each.dtype} {_shape(each.shape)}")


def _shape(shape: Any) -> str:
    sizes = [str(size) if size != "" else "any" for size in shape]
    return f"[{', '.join(sizes)}]" if sizes else "(a single value)"


def _print_batching(batching: Any, notes: Any) -> None:
    why = f": {batching.reason}" if batching.reason else ""
    typer.echo(f"its rows are predicted: {batching.verdict}{why}")
    if batching.size is None:
        measured = f"{batching.difference:.2g}" if batching.difference else "none"
        typer.echo(f"largest difference between a row alone and in company: {measured}")
    for note in notes:
        typer.echo(f"note: {note}")


def _batching(record: "Record") -> Any:
    from batchline.ml.batching import Batching

    return Batching.from_json(json.loads(record.batching))


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")
