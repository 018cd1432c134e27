"""Examine versions again that an older Batchline stored before it looked for what it stores now."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from batchline.db.cruds import versions
from batchline.db.database import Database
from batchline.errors import ConfigurationError, ModelUnavailable
from batchline.ml.batching import Batching
from batchline.ml.examination.report import ModelReport
from batchline.ml.signature import SIGNATURE_FORMAT, Signature
from batchline.registry.content import read_version_content
from batchline.registry.model_file import Examine, ModelFile, read_choices
from batchline.registry.publish import add, to_new_version
from batchline.registry.version import Version, read_versions


@dataclass(frozen=True, slots=True)
class Renewal:
    """A version that was examined again.

    `successor` is the version that was added because the form of the prediction changed. `problem`
    tells why the version stays as it was stored.
    """

    version: Version
    successor: Version | None = None
    problem: ConfigurationError | ModelUnavailable | None = None


def renew(database: Database, examine: Examine, actor: str) -> Iterator[Renewal]:
    """Examine all versions of an older format. If predictions look different, add a new version.

    A version that cannot be examined predicts as it did before.
    """
    for version in read_versions(database):
        is_old = version.format < SIGNATURE_FORMAT and version.batching is not None
        if is_old and not version.is_removed:
            yield _renew(database, version, examine, actor)


def _renew(database: Database, version: Version, examine: Examine, actor: str) -> Renewal:
    choices = replace(read_choices(version.options), allow_non_finite=version.allow_non_finite)
    try:
        content = read_version_content(database, version)
        file = ModelFile(version.location or "", content, choices)
        found = _examined(file, version, examine)
    except (ConfigurationError, ModelUnavailable) as error:
        return Renewal(version, problem=error)
    if _form(version.signature, version.batching) != _form(found.signature, found.batching):
        added = add(database, version.name, file, found, active=version.active, actor=actor)
        return Renewal(version, added)
    new = to_new_version(file, found)
    database.transaction(lambda c: versions.renew(c, version.id, new, actor))
    return Renewal(version)


def _examined(file: ModelFile, version: Version, examine: Examine) -> ModelReport:
    """Return the report of a file. Its sample is not stored, so its example must do, if needed.

    Then the batching mode stays, which that sample has confirmed.
    """
    try:
        return examine(file, None)
    except ConfigurationError:
        if version.example is None or version.batching is None:
            raise
    row = json.dumps({"data": version.example["data"]})
    found = examine(file, ("of its example", f"{row}\n{row}".encode()))
    return replace(found, batching=version.batching)


def _form(signature: Signature, batching: Batching | None) -> tuple[Any, ...]:
    """Return all that decides how data is read and how a prediction is built.

    Which values may be missing, and the names of features, are no part of it: data that a version
    took before, it takes in the same way.
    """
    inputs = [(e.name, e.dtype, e.shape, e.per_item, e.axis) for e in signature.inputs]
    return inputs, batching is None or batching.axis, _values(signature)


def _values(signature: Signature) -> tuple[str, ...]:
    """Return the names in a prediction: class names, or names of outputs."""
    rest = [each.name for each in signature.outputs if each.name != signature.label]
    if signature.labels is not None:
        # Before roles were known, the probabilities were all that a classifier gave.
        if signature.probabilities is None or rest == [signature.probabilities]:
            return signature.labels
        return (*rest, *signature.labels)
    return tuple(rest or [each.name for each in signature.outputs])
