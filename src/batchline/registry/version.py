"""A version of a model, parsed from its row in the database."""

import json
from dataclasses import dataclass

from batchline.db.models import Record
from batchline.ml.batching import Batching
from batchline.ml.signature import Signature


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model, as the database has it."""

    id: int
    name: str
    number: int
    sha256: str
    signature: Signature
    batching: Batching | None
    allow_non_finite: bool
    size: int
    location: str | None

    def __str__(self) -> str:
        return f"version {self.number} of the model {self.name}"

    @classmethod
    def of(cls, record: Record) -> "Version":
        batching = None if record.batching is None else json.loads(record.batching)
        return cls(
            id=record.id,
            name=record.name,
            number=record.version,
            sha256=record.sha256,
            signature=Signature.from_json(json.loads(record.signature)),
            batching=None if batching is None else Batching.from_json(batching),
            allow_non_finite=bool(record.allow_non_finite),
            size=record.size or 0,
            location=record.location,
        )
