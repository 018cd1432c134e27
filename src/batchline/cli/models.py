"""The commands that add, compare and choose models."""

import csv
import json
import shlex
import signal
import sys
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import typer

from batchline import redaction
from batchline.cli.actor import actor
from batchline.cli.model_options import MODEL_FILE, ModelFileOptions
from batchline.cli.model_text import print_batching, print_report, print_signature
from batchline.cli.option_record import takes
from batchline.cli.options import DatabaseUrl, ModelName, VersionNumber, examples
from batchline.cli.output import count
from batchline.cli.silence import opened_while_it_responds
from batchline.cli.wiring import configure, opened_for_a_moment

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.ml.comparison import Comparison
    from batchline.ml.examination.report import ModelReport
    from batchline.registry.model_file import ModelFile
    from batchline.registry.version import Version


models_app = typer.Typer(help="Add, compare and choose models.", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The options of `models check`."""

    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Path of an ONNX file or an MLflow model, or a URL."),
    ]
    features: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=MODEL_FILE,
            metavar="NAMES",
            help="Name the values of a row, separated by commas, or by the header of a CSV file.",
        ),
    ] = None
    model_file: ModelFileOptions

    def read(self) -> "ModelFile":
        from batchline.registry.model_file import ModelFile

        choices = self.model_file.choices(self.features)
        return ModelFile.read(self.file, self.model_file.labels, choices)


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """The options of `models add`."""

    name: ModelName
    checked: CheckOptions
    activate: Annotated[
        bool, typer.Option(help="Predict with it from now on, as a first version always does.")
    ] = True
    database_url: DatabaseUrl = None


@models_app.command(
    epilog=examples(
        "batchline models add churn churn.onnx --features age,income --missing income",
        "batchline models add churn churn.onnx --labels labels.json --no-activate",
    )
)
@takes(AddOptions)
def add(options: AddOptions) -> None:
    """Validate an ONNX model and add it as a new version.

    The API then accepts rows for it, and the jobs predict them.
    """
    settings, name = configure({"database_url": options.database_url}), options.name
    from batchline.registry import publish
    from batchline.registry.version import read_versions

    publish.check_name(name)
    model = options.checked.read()
    publish.check_location(model)
    with opened_while_it_responds(settings) as database:
        if known := publish.find(database, name, model):
            is_restored = publish.restore(database, known, model, actor())
            _print_known(known, is_restored, options.activate)
            return
        found = _examined(model, options.checked.model_file, settings)
        before = next((each for each in read_versions(database, name) if each.active), None)
        version = publish.add(database, name, model, found, active=options.activate, actor=actor())
    _print_added(version)
    print_report(found, model.content)
    _tell_of_names(before, version)


def _tell_of_names(before: "Version | None", version: "Version") -> None:
    if before is None:
        _suggest_names(version)
    else:
        _warn_of_lost_names(before, version)


def _suggest_names(version: "Version") -> None:
    """Say how rows can be records, if the values of a row have no names."""
    from batchline.ml.features import row_width

    signature = version.signature
    width = row_width(signature.inputs[0]) if signature.is_plain else None
    if signature.features is None and width is not None and width > 1:
        typer.echo(
            f"hint: name the {width} values of a row with --features, to send them by name and to "
            "find them in files",
            err=True,
        )


@models_app.command()
@takes(CheckOptions)
def check(options: CheckOptions) -> None:
    """Validate a model as `add` does, and store nothing."""
    settings, model = configure({}), options.read()
    print_report(_examined(model, options.model_file, settings), model.content)


@models_app.command("list")
def list_models(database_url: DatabaseUrl = None) -> None:
    """List the versions of all models."""
    from rich.console import Console
    from rich.table import Table

    from batchline.registry.version import read_versions

    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        found = read_versions(database)
    table = Table("model", "version", "active", "sha256", "batching", "added")
    for each in found:
        table.add_row(
            each.name,
            str(each.number),
            "active" if each.active else "removed" if each.is_removed else "",
            each.sha256[:12],
            each.batching.verdict if each.batching else "of an older Batchline",
            _added_at(each),
        )
    Console().print(table)


@models_app.command()
def show(
    name: ModelName,
    version: VersionNumber = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the inputs and outputs of a model, its batching mode, and a request to paste."""
    from batchline.registry.version import read_version

    settings = configure({"database_url": database_url})
    with opened_for_a_moment(settings) as database:
        found = read_version(database, name, version)
    state = "active" if found.active else "not active"
    typer.echo(f"{name}, version {found.number}, {state}, added {_added_at(found)}")
    where = redaction.location(found.location or "the database")
    typer.echo(f"file: {found.size} bytes in {where}, sha256 {found.sha256}")
    print_signature(found.signature)
    if found.batching:
        print_batching(found.batching, found.notes)
    example = found.example or {"data": found.signature.example()}
    body = json.dumps({"model": name, "data": example["data"]})
    typer.echo("request:")
    typer.echo(f"  curl http://{settings.host}:{settings.port}/predict -d {shlex.quote(body)}")
    if "prediction" in example:
        result = {key: example[key] for key in ("label", "prediction")}
        typer.echo("its result:")
        typer.echo(f"  {json.dumps(result, ensure_ascii=False)}")


@models_app.command()
def activate(
    name: ModelName,
    version: Annotated[
        int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Predict with this version from now on. A run in progress switches at its next batch."""
    from batchline.registry import publish
    from batchline.registry.version import read_version

    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        publish.activate(database, read_version(database, name, version), actor())
    typer.echo(f"version {version} of {name} is active")


@models_app.command()
def remove(
    name: ModelName,
    version: Annotated[
        int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Delete the file of a version that is not active.

    Its predictions are kept, and still name it.
    """
    from batchline.registry import publish
    from batchline.registry.version import read_version

    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        publish.remove(database, read_version(database, name, version), actor())
    typer.echo(f"version {version} of {name} is removed")


@models_app.command()
def prune(
    name: ModelName,
    keep: Annotated[int, typer.Option(min=1, help="Keep this number of the newest versions.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Remove old versions of a model, such as those of nightly training.

    The active version is always kept.
    """
    from batchline.registry import publish

    with opened_for_a_moment(configure({"database_url": database_url})) as database:
        removed = publish.prune(database, name, keep, actor())
    typer.echo(f"{count(len(removed), 'version')} of {name} removed")


@models_app.command()
def diff(
    name: ModelName,
    one: Annotated[int, typer.Argument(min=1, metavar="V1", help="Number of a version.")],
    other: Annotated[int, typer.Argument(min=1, metavar="V2", help="Number of another version.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Compare two versions over the items that both have predicted."""
    from batchline.registry.version import read_version

    with opened_while_it_responds(configure({"database_url": database_url})) as database:
        versions = [read_version(database, name, number) for number in (one, other)]
        found = _compare(database, *versions)
    typer.echo(f"items that both versions predicted: {found.items}")
    if not found.items:
        able = [each.number for each in reversed(versions) if not each.is_removed]
        if able:
            typer.echo(f"hint: batchline backfill {name} --version {able[0]}")
        return
    typer.echo(
        f"items with another label or string: {found.changed} ({found.changed / found.items:.2%})"
    )
    typer.echo(f"largest difference of a number: {found.largest:.3g}")
    typer.echo(f"mean difference: {found.mean:.3g}")
    typer.echo("most changed items:")
    for apart, item_id in sorted(found.most_changed, reverse=True):
        typer.echo(f"  item {item_id}: {apart:.3g}")


def _compare(database: "Database", one: "Version", other: "Version") -> "Comparison":
    from batchline.constants import BEFORE_ALL_IDS, DIFF_PAGE_ITEMS
    from batchline.db.cruds import versions
    from batchline.ml.comparison import Comparison

    found, after = Comparison(), BEFORE_ALL_IDS
    with database.read() as connection:
        while page := versions.pairs(connection, (one.id, other.id), after, DIFF_PAGE_ITEMS):
            for pair in page:
                found.add(pair.item_id, pair.one, pair.other, pair.other_label)
            after = page[-1].item_id
    return found


def _added_at(version: "Version") -> str:
    time = version.created_at
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "at an unreadable time"


def _print_added(version: "Version") -> None:
    state = "is active" if version.active else "is stored, and not active"
    typer.echo(f"version {version.number} of {version.name} {state}")
    if version.location is not None:
        where = redaction.location(version.location)
        typer.echo(f"file: too large for the database, each job reads {where}")


def _warn_of_lost_names(before: "Version", version: "Version") -> None:
    """Warn if a version could have the names of features that the active one had."""
    names, signature = before.signature.features, version.signature
    if names is None or signature.features is not None:
        return
    if not signature.is_plain or signature.inputs[0].shape != (len(names),):
        return
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    typer.echo(
        f"warning: version {before.number} has names for its features, and version "
        f"{version.number} has none\nhint: to keep the names, run the command again with "
        f"--features {shlex.quote(line.getvalue())}",
        err=True,
    )


def _print_known(known: "Version", is_restored: bool, activate: bool) -> None:
    version = f"version {known.number} of {known.name}"
    if is_restored:
        typer.echo(f"the stored file of {version} was damaged, and is replaced by this one")
        typer.echo("hint: run `batchline retry --code model_unavailable`", err=True)
    else:
        typer.echo(f"{version} has this file already, nothing is stored")
    if activate and not known.active:
        command = f"batchline models activate {known.name} {known.number}"
        typer.echo(f"hint: to activate it, run `{command}`")


def _examined(model: "ModelFile", options: ModelFileOptions, settings: "Settings") -> "ModelReport":
    from batchline.cli.trial import examined

    rows = options.read_sample()
    if sys.stderr.isatty():
        typer.echo("validating …", err=True)
    try:
        return examined(settings, model, rows)
    except KeyboardInterrupt:
        typer.echo("stopped: nothing was written", err=True)
        raise typer.Exit(128 + signal.SIGINT) from None
