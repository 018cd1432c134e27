"""Find out which parts of a configuration work, and which do not."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from batchline.cli.wiring import make_model_cache, opened

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.errors import BatchlineError


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
    from batchline.constants import DEFAULT_MODEL
    from batchline.errors import BatchlineError

    has_default = False
    try:
        with opened(settings) as database:
            yield f"database: {database.url}"
            yield from _taken_ids(database)
            models = make_model_cache(database, settings)
            active = models.active()
            has_default = DEFAULT_MODEL in active
            for name, version in sorted(active.items()):
                yield _tried(f"model {name}: version {version.number}", models.predictor, version)
    except BatchlineError as error:
        yield error
    if settings.chose_model or not has_default:
        yield _tried(f"model file: {settings.model_filepath}", _examine_file, settings)


def _taken_ids(database: "Database") -> "Iterator[BatchlineError]":
    from batchline.db.cruds import schema
    from batchline.errors import SequenceBehind

    try:
        with database.read() as connection:
            schema.check_sequences(connection)
    except SequenceBehind as error:
        yield error


def _tried(part: str, check: Callable[..., object], *arguments: object) -> "str | BatchlineError":
    from batchline.errors import BatchlineError

    try:
        check(*arguments)
    except BatchlineError as error:
        return error
    return part


def _examine_file(settings: "Settings") -> None:
    from batchline.registry.model_file import ModelFile

    ModelFile.read(str(settings.model_filepath), settings.labels).examine(None, None)
