"""A model is all of its bytes: the model file, and the files with its external data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

Bytes = bytes | memoryview

FRAME = b"\x00batchline model 1\n"
"""How a model of several files begins. No ONNX file begins with 0."""


@dataclass(frozen=True)
class ModelContent:
    """The bytes of a model: its file, and by location the other files that it names."""

    model: bytes
    external: Mapping[str, Bytes] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """The identity of the model.

        For a model without external data it is the SHA-256 of its file. Otherwise it is the SHA-256
        of `pack()`: of `FRAME`, one line of JSON, the model file, and the other files in the order
        of their names. The line is an object: the name of each file → its size, with the model file
        first, under the name "". So other bytes, other names or another split give another SHA-256.
        """
        digest = sha256()
        for part in self._parts():
            digest.update(part)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return len(self.model) + sum(map(len, self.external.values()))

    def pack(self) -> bytes:
        """Return all files in one string of bytes, which `unpack` reads."""
        return b"".join(self._parts())

    @classmethod
    def unpack(cls, packed: bytes) -> "ModelContent":
        """Return the model that was packed."""
        if not packed.startswith(FRAME):
            return cls(packed)
        start = packed.index(b"\n", len(FRAME)) + 1
        files: dict[str, memoryview] = {}
        for name, size in json.loads(packed[len(FRAME) : start]).items():
            files[name] = memoryview(packed)[start : start + size]
            start += size
        return cls(bytes(files.pop("")), files)

    def _parts(self) -> Iterator[Bytes]:
        if not self.external:
            yield self.model
            return
        files = {"": self.model, **dict(sorted(self.external.items()))}
        yield FRAME
        yield json.dumps({name: len(content) for name, content in files.items()}).encode() + b"\n"
        yield from files.values()
