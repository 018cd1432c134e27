"""The text in which one process of `predict` tells another one what to do."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from batchline.cli.predict_ask import Ask, ModelAsk, RunSettings
from batchline.files.options import Format, ReadOptions, WriteOptions
from batchline.ml.examination.report import Choices
from batchline.scoring.error_limit import ErrorLimit
from batchline.scoring.ray_options import RayOptions

CLASSES = {
    each.__name__: each
    for each in (
        Ask,
        Choices,
        ErrorLimit,
        ModelAsk,
        RayOptions,
        ReadOptions,
        RunSettings,
        WriteOptions,
    )
}


def to_json(ask: Ask) -> bytes:
    """Return a run as JSON. `from_json` reads it."""
    return json.dumps(_plain(ask)).encode()


def from_json(text: bytes) -> Ask:
    """Return the run."""
    found = _read(json.loads(text))
    assert isinstance(found, Ask)
    return found


def _plain(value: Any) -> Any:
    """Return a value that JSON has. What it lacks becomes an object with one member."""
    match value:
        case Format():
            return {"format": value.value}
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_plain(each) for each in value]
        case tuple():
            return {"tuple": [_plain(each) for each in value]}
        case bytes():
            return {"bytes": b64encode(value).decode()}
        case Path():
            return {"path": str(value)}
        case Mapping():
            return {"mapping": [[key, _plain(each)] for key, each in value.items()]}
    if not is_dataclass(value) or type(value).__name__ not in CLASSES:
        raise TypeError(f"{type(value).__qualname__} is no part of a run")
    members = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return {type(value).__name__: members}


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, given),) = value.items()
    match kind:
        case "format":
            return Format(given)
        case "tuple":
            return tuple(_read(each) for each in given)
        case "bytes":
            return b64decode(given)
        case "path":
            return Path(given)
        case "mapping":
            return {key: _read(each) for key, each in given}
    return CLASSES[kind](**{name: _read(each) for name, each in given.items()})
