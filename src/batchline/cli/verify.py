"""The command that computes stored predictions again."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.options import UTC_TIME, DatabaseUrl, examples
from batchline.cli.output import count
from batchline.cli.wiring import configure, make_model_cache, opened

if TYPE_CHECKING:
    from batchline.registry.version import Version
    from batchline.task.verification import Discrepancy, Verifier

app = typer.Typer()

SAMPLE = 1_000
SHOWN = 200
"""Characters of a prediction that are printed."""
DIFFERENT = 3
"""The exit code if predictions differ."""


Since = Annotated[
    datetime | None,
    typer.Option(**UTC_TIME, help="Verify predictions stored at this UTC time or later."),
]


@app.command(epilog=examples("batchline verify churn --all --since 2026-11-01"))
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Verify only this model.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Verify this number of random items per version.")
    ] = SAMPLE,
    everything: Annotated[bool, typer.Option("--all", help="Verify all items.")] = False,
    since: Since = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Compute stored predictions again, and report every one that differs.

    Removed versions are not verified. Exit code 3: predictions differ. Exit code 1: a version could
    not be loaded.
    """
    from batchline.cli.trial import load
    from batchline.registry.probe import Probe
    from batchline.registry.version import read_model, read_versions
    from batchline.task.verification import Verifier

    settings = configure({"database_url": database_url})
    with opened(settings) as database, Probe() as probe:
        versions = read_versions(database) if name is None else read_model(database, name)
        verifier = Verifier(
            database,
            make_model_cache(database, settings),
            sample=None if everything else sample,
            since=since,
        )
        outcomes = [
            _verify(verifier, each, lambda version: load(probe, database, version, settings))
            for each in versions
        ]
    if any(different for different, _ in outcomes):
        _print_runtimes(verifier)
        raise typer.Exit(DIFFERENT)
    if not all(verified for _, verified in outcomes):
        raise typer.Exit(1)


def _verify(
    verifier: "Verifier", version: "Version", load: "Callable[[Version], None]"
) -> tuple[int, bool]:
    """Print what differs. Return how many predictions differ, and whether no error occurred.

    Args:
        load: loads the version in a process that it may end.
    """
    from batchline.errors import ModelUnavailable

    if version.is_removed:
        typer.echo(f"– {version}: not verified, its file was removed")
        return 0, True
    items, different = 0, 0

    def advance(more: int) -> None:
        nonlocal items
        items += more

    try:
        load(version)
        for each in verifier.verify(version, advance):
            different += 1
            _print_discrepancy(each)
    except ModelUnavailable as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        typer.echo(f"✗ {version}: not verified: {error.detail}{hint}")
        return different, False
    mark = "✗" if different else "✓"
    typer.echo(f"{mark} {version}: {count(items, 'item')} verified, {different} different")
    return different, True


def _print_discrepancy(each: "Discrepancy") -> None:
    typer.echo(f"item {each.item_id}, version {each.version.number} of {each.version.name}")
    typer.echo(f"  stored:   {_shortened(each.stored)}")
    typer.echo(f"  computed: {_shortened(each.computed)}")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _print_runtimes(verifier: "Verifier") -> None:
    """Print where runs took place, since two machines may compute slightly different numbers."""
    from batchline.db.cruds import runs
    from batchline.machine import processor
    from batchline.ml.session import RUNTIME

    with verifier.database.read() as connection:
        places = runs.places(connection)
    typer.echo(f"computed here with: {RUNTIME}, {processor()}")
    for place in places:
        typer.echo(f"runs took place with: {place.runtime}, {place.processor}")
