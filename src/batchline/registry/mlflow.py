"""Read where the ONNX file of an MLflow model is, and the names of its columns.

An MLflow model is a folder with a file `MLmodel` in YAML.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from batchline import redaction
from batchline.errors import ConfigurationError
from batchline.ml.error_lines import first_line
from batchline.ml.examination.feature_names import Names
from batchline.registry.files import is_url, read_file

MLMODEL = "MLmodel"


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """The location of the ONNX file, and the columns of the signature, if it has columns."""

    location: str
    columns: Names | None


def is_mlflow(location: str) -> bool:
    """Whether this is the folder of an MLflow model, or its file `MLmodel`."""
    name = location.rpartition("/")[2]
    return name == MLMODEL or (not is_url(location) and (Path(location) / MLMODEL).is_file())


def read_mlflow(location: str) -> MlflowModel:
    """Read the file `MLmodel`.

    Raises:
        ConfigurationError: it cannot be read, or it is not a model in ONNX.
    """
    file = location if location.rpartition("/")[2] == MLMODEL else str(Path(location) / MLMODEL)
    stored = _parsed(read_file(file), file)
    flavors = stored.get("flavors")
    flavor = flavors.get("onnx") if isinstance(flavors, dict) else None
    if not isinstance(flavor, dict):
        found = ", ".join(map(str, flavors)) if isinstance(flavors, dict) else "none"
        raise ConfigurationError(
            f"{redaction.location(file)} has no flavor onnx, only {found}",
            hint="log the model with mlflow.onnx.log_model",
        )
    return MlflowModel(_next_to(file, flavor.get("data")), _columns(stored.get("signature"), file))


def _parsed(content: bytes, file: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ConfigurationError(
            f"{redaction.location(file)} is YAML, but PyYAML is not installed",
            hint=f"install it: {sys.executable} -m pip install pyyaml, or name the ONNX file",
        ) from error
    try:
        stored = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _bad(file, f"it is not YAML: {first_line(error)}") from error
    if not isinstance(stored, dict):
        raise _bad(file, "it is not a mapping")
    return stored


def _next_to(file: str, data: object) -> str:
    """Return the location of a file in the folder of the model."""
    path = PurePosixPath(data) if isinstance(data, str) and data else None
    if path is None or path.is_absolute() or ".." in path.parts or "\\" in str(path):
        raise _bad(file, f"flavors.onnx.data must be a path in its folder, got {data!r}")
    return str(Path(file).with_name(str(data))) if not is_url(file) else _url(file, str(path))


def _url(file: str, path: str) -> str:
    folder, slash, _ = file.rpartition("/")
    return folder + slash + path


def _columns(signature: object, file: str) -> Names | None:
    """Return the names of the columns, or None for tensors and for columns without names."""
    text = signature.get("inputs") if isinstance(signature, dict) else None
    if text is None:
        return None
    try:
        inputs = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _bad(file, "signature.inputs is not JSON") from error
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise _bad(file, "signature.inputs is not a list of columns")
    names = [each.get("name") for each in inputs if each.get("type") != "tensor"]
    if len(names) < len(inputs) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(map(str, names))


def _bad(file: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{redaction.location(file)} cannot be used: {problem}",
        hint="name the ONNX file itself instead of its folder",
    )
