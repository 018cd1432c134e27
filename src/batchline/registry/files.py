"""Read model files by path or URL."""

from pathlib import Path

from batchline.errors import ConfigurationError


def is_url(location: str) -> bool:
    """Whether fsspec reads this location: s3://…, https://… and so on."""
    return "://" in location


def read_file(location: str) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return _read_url(location) if is_url(location) else Path(location).read_bytes()
    except ConfigurationError:
        raise
    except Exception as error:  # each of fsspec's filesystems has errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"the model file {location} cannot be read: {reason}",
            hint="name an existing ONNX file in MODEL_FILEPATH or to `batchline models add`",
        ) from error


def _read_url(location: str) -> bytes:
    try:
        import fsspec
    except ImportError as error:
        raise ConfigurationError(
            f"{location} is a URL, but fsspec is not installed",
            hint="pip install 'batchline[remote]'",
        ) from error
    with fsspec.open(location, "rb") as file:
        content: bytes = file.read()
    return content
