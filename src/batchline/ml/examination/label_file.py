"""Read the class names of a label file."""

import json
from pathlib import Path

from batchline.errors import ConfigurationError
from batchline.ml.error_lines import first_line
from batchline.ml.regular_file import regular

Names = tuple[str, ...]


def read_labels(path: Path) -> Names:
    """Return labels in class order from a JSON list, or from an object from index to label.

    Raises:
        ConfigurationError: the file cannot be read, or holds something else.
    """
    try:
        stored = json.loads(regular(path).read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            stored = [stored[str(index)] for index in range(len(stored))]
    except OSError as error:
        raise ConfigurationError(
            f"the label file {path} cannot be read: {error.strerror}",
            hint="name a JSON file as LABEL_FILEPATH or --labels, or leave it out",
        ) from error
    except KeyError as error:
        raise _bad_labels(path, f"index {error} is missing, and indexes count from 0") from error
    except (ValueError, RecursionError) as error:
        raise _bad_labels(path, f"it is not JSON: {first_line(error)}") from error
    if not isinstance(stored, list) or not all(isinstance(label, str) for label in stored):
        raise _bad_labels(path, "it is not a list of names")
    if len(set(stored)) != len(stored):
        raise _bad_labels(path, "a name appears twice")
    if any(not label.isprintable() for label in stored):
        raise _bad_labels(path, "a name has characters that cannot be printed")
    return tuple(stored)


def _bad_labels(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the label file {path} cannot be used: {problem}",
        hint='write it as {"0": "setosa", "1": "versicolor", …} or ["setosa", "versicolor", …]',
    )
