"""Find out which parts of a configuration work, and which do not."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from batchline.cli.exposure import check_keys
from batchline.cli.wiring import connect

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.errors import BatchlineError
    from batchline.registry.version import Version


def findings(flags: dict[str, Any]) -> Iterator["str | BatchlineError"]:
    """Return the name of each part that works, and the error of each that does not."""
    from batchline import logs
    from batchline.configurations import read_settings
    from batchline.errors import BatchlineError

    logs.configure("CRITICAL", "console")  # findings are printed, not logged
    try:
        settings = read_settings(**flags)
    except BatchlineError as error:
        yield error
        return
    yield from _database_and_models(settings)


def _database_and_models(settings: "Settings") -> Iterator["str | BatchlineError"]:
    from batchline.constants import COMMAND_STATEMENT_TIMEOUT, DEFAULT_MODEL
    from batchline.db.cruds import schema
    from batchline.db.dialects.server_settings import check_settings
    from batchline.db.rehearsal import check_schema, check_view, rehearse
    from batchline.errors import BatchlineError
    from batchline.registry.version import KnownVersions, read_versions

    has_default = False
    try:
        with closing(connect(settings, timeout=COMMAND_STATEMENT_TIMEOUT)) as database:
            check_schema(database)
            yield f"database: {database.url}"
            problems = (
                _error_of(_read, database, schema.check_sequences),
                _error_of(_read, database, check_settings),
                _error_of(check_view, database),
            )
            yield from filter(None, problems)
            yield _error_of(rehearse, database) or "storing: a registration, a claim and a result"
            yield _error_of(check_keys, settings, database) or "access to the API"
            unreadable: list[BatchlineError] = []
            read_versions(database, on_unreadable=unreadable.append)
            yield from unreadable
            active = KnownVersions(database).active()
            has_default = DEFAULT_MODEL in active
            yield from _loads(database, settings, active)
    except BatchlineError as error:
        yield error
    if settings.chose_model or not has_default:
        yield _error_of(_examine_file, settings) or f"model file: {settings.model_filepath}"


def _loads(
    database: "Database", settings: "Settings", active: "Mapping[str, Version]"
) -> Iterator["str | BatchlineError"]:
    from batchline.cli.trial import load
    from batchline.registry.probe import Probe

    with Probe() as probe:
        for name, version in sorted(active.items()):
            error = _error_of(load, probe, database, version, settings)
            yield error or f"model {name}: version {version.number}"


def _error_of(check: Callable[..., object], *arguments: object) -> "BatchlineError | None":
    """Return the error that a check raises, if it raises one."""
    from batchline.errors import BatchlineError

    try:
        check(*arguments)
    except BatchlineError as error:
        return error
    return None


def _read(database: "Database", check: Callable[..., object]) -> None:
    with database.read() as connection:
        check(connection)


def _examine_file(settings: "Settings") -> None:
    from batchline.cli.trial import examined
    from batchline.registry.model_file import ModelFile

    examined(settings, ModelFile.read(str(settings.model_filepath), settings.labels))
