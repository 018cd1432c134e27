"""Model files, wherever they are."""

from pathlib import Path

from batchline.errors import ConfigurationError


def is_url(location: str) -> bool:
    """Whether it is read with fsspec: s3://…, https://… and so on."""
    return "://" in location


def read_file(location: str) -> bytes:
    """The content of a file, by its path or URL.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return _read_url(location) if is_url(location) else Path(location).read_bytes()
    except ConfigurationError:
        raise
    except Exception as error:  # each of fsspec's file systems has errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"the model file {location} cannot be read: {reason}",
            hint="name an ONNX file that is there, as MODEL_FILEPATH or to `batchline models add`",
        ) from error


def _read_url(location: str) -> bytes:
    try:
        import fsspec
    except ImportError as error:
        raise ConfigurationError(
            f"{location} is a URL, and fsspec is not installed",
            hint="pip install 'batchline[remote]', and what fsspec needs for such URLs",
        ) from error
    with fsspec.open(location, "rb") as file:
        content: bytes = file.read()
    return content
