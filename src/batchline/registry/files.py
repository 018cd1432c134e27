"""Read model files by path or URL, with the files next to them that they name."""

import os
import re
import sys
from pathlib import Path

from batchline import redaction
from batchline.errors import ConfigurationError
from batchline.ml.content import ModelContent
from batchline.ml.external_data import external_tensors
from batchline.ml.regular_file import regular

URL_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
"""Names that mean the same in every URL: nothing to escape, no query, no second filesystem."""


def is_url(location: str) -> bool:
    """Whether fsspec reads this location: s3://…, https://… and so on."""
    return "://" in location


def is_file(model: str) -> bool:
    """Whether `--model` is a file and not the name of a model. One with `.onx` is misspelt."""
    is_like_a_file = "/" in model or Path(model).suffix.startswith(".on")
    return is_like_a_file or is_url(model) or Path(model).exists()


def read_file(location: str) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return _read_url(location) if is_url(location) else regular(Path(location)).read_bytes()
    except ConfigurationError:
        raise
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"the model file {redaction.location(location)} cannot be read: "
            f"{redaction.without(str(reason), location)}",
            hint="give the path or the URL of an ONNX file",
        ) from error


def read_sample(sample: Path) -> tuple[str, bytes]:
    """Return the name and the content of a file with rows to try a model with.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return str(sample), regular(sample).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the sample file {sample} cannot be read: {error.strerror}",
            hint="give the path of a file with rows as in POST /predict",
        ) from error


def _read_url(location: str) -> bytes:
    try:
        import fsspec
    except ImportError as error:
        raise ConfigurationError(
            f"{redaction.location(location)} is a URL, but fsspec is not installed",
            hint=f"install it: {sys.executable} -m pip install fsspec",
        ) from error
    with fsspec.open(location, "rb") as file:
        content: bytes = file.read()
    return content


def read_content(location: str) -> ModelContent:
    """Return the content of a model file and of the files that have its external data.

    Raises:
        ConfigurationError: one of the files cannot be read, or is not in the folder of the model.
    """
    model, name = read_file(location), f"the model file {redaction.location(location)}"
    names = {tensor.location for tensor in external_tensors(model, name)}
    read = _read_next_to_url if is_url(location) else _read_next_to
    return ModelContent(model, {each: read(location, each) for each in sorted(names)})


def _read_next_to(location: str, name: str) -> bytes:
    try:
        return regular(_within_folder(Path(location), name)).read_bytes()
    except OSError as error:
        raise _unreadable(location, name, error.strerror or str(error)) from error


def _within_folder(model: Path, name: str) -> Path:
    """Return the path of a file next to a model, with no links left."""
    found = Path(os.path.realpath(model.parent / name, strict=True))
    # A link to a model, as in the cache of Hugging Face, has two folders that are the model's.
    folders = model.parent.resolve(), model.resolve().parent
    if not any(found.is_relative_to(folder) for folder in folders):
        raise _unreadable(str(model), name, f"it is a link to {found}, in another folder")
    return found


def _read_next_to_url(location: str, name: str) -> bytes:
    folder, slash, _ = location.rpartition("/")
    if not URL_NAME.fullmatch(name):
        raise _unreadable(location, name, "next to a URL, it may have letters, digits, . _ - and /")
    if "?" in location or "#" in location or "::" in location:
        raise _unreadable(location, name, "the URL of the model has a ?, # or ::")
    try:
        return _read_url(folder + slash + name)
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        reason = redaction.without(str(error), location) or type(error).__name__
        raise _unreadable(location, name, reason) from error


def _unreadable(location: str, name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the model file {redaction.location(location)} has weights in the file {name!r}, which "
        f"cannot be read: {reason}",
        hint=f"copy {name} into the folder of the model file",
    )
