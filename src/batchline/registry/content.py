"""Read the file of a version, without ONNX Runtime."""

from hashlib import sha256

from batchline import redaction
from batchline.db.cruds import versions
from batchline.db.database import Database
from batchline.errors import ModelUnavailable
from batchline.ml.batching import Batching
from batchline.ml.content import ModelContent
from batchline.registry.files import read_content
from batchline.registry.version import Version


def batching_of(version: Version) -> Batching:
    """Return the batching mode of a version.

    Raises:
        ModelUnavailable: its file was removed, or an older Batchline did not store it.
    """
    if version.is_removed:
        raise ModelUnavailable(
            f"the file of {version} was removed",
            hint=f"run `batchline models add {version.name} FILE`",
        )
    if version.batching is None:
        raise ModelUnavailable(
            f"{version} was added by an older Batchline, which did not keep its file",
            hint="run `batchline models add` with its file",
        )
    return version.batching


def read_version_content(database: Database, version: Version) -> ModelContent:
    """Return the bytes of a version that was not removed.

    Raises:
        ModelUnavailable: the file has changed.
        ConfigurationError: the file cannot be read.
        DatabaseUnavailable: the database does not respond.
    """
    if version.location is not None:
        content = read_content(version.location)
        _check_unchanged(version, content.sha256, version.location)
        return content
    with database.read() as connection:
        stored = versions.read_file(connection, version.sha256)
    _check_unchanged(version, sha256(stored).hexdigest(), "the database")
    return ModelContent.unpack(stored)


def _check_unchanged(version: Version, found: str, location: str) -> None:
    if found != version.sha256:
        where = redaction.location(location)
        is_stored = version.location is None
        what = "the original file again" if is_stored else "it as a new version"
        raise ModelUnavailable(
            f"the file of {version} in {where} has changed (sha256 mismatch)",
            hint=f"add {what} with `batchline models add`",
        )
