"""Which other files a model file needs: the external data of its tensors. Pure.

ONNX calls values that a tensor has in another file *external data*: the tensor names the file
(`location`), the first byte (`offset`) and the number of bytes (`length`). ONNX Runtime reads such
files from memory for the tensors of the main graph only, so all others are rejected.

If this reader and ONNX Runtime should ever differ about a strange file, ONNX Runtime misses a file
and rejects the model. It cannot read one that is not here; see `session.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from batchline.errors import ConfigurationError
from batchline.ml.protobuf import read_fields

PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""The messages of onnx.proto3 that lead to a tensor, with the numbers of these fields."""

READABLE = {("model", "graph"), ("model", "graph", "Constant", "attribute")}
"""Where a tensor may be for ONNX Runtime to read its external data from memory."""

NODE_OPERATOR, NODE_ATTRIBUTE = 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_STRING = 1, 3, 4
TENSOR_NAME, TENSOR_ENTRIES, TENSOR_LOCATION, EXTERNAL = 8, 13, 14, 1
ENTRY_KEY, ENTRY_VALUE = 1, 2
ENTRIES = {"location", "offset", "length", "checksum"}
MAX_DIGITS = 18
TENSOR_MAX_BYTES = 2**31
"""ONNX Runtime's limit of one tensor. A model may have any number of them."""

SIGNS = (b"location", b"EPContext")
"""A file without one of these words needs no other file, and most files have none."""

HINT_ONE_FILE = "save it as one file: onnx.save(onnx.load(PATH), NEW, save_as_external_data=False)"
HINT_NEXT_TO_IT = (
    "save the weights next to the model file: "
    'onnx.save(onnx.load(PATH), NEW, save_as_external_data=True, location="weights.data")'
)
HINT_SPLIT = "export the model with this tensor split into smaller ones, joined by a Concat"


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor with external data. Without a length, its shape says how many bytes it has."""

    name: str
    location: str
    offset: int = 0
    length: int | None = None


def external_tensors(model: bytes, name: str) -> list[ExternalTensor]:
    """Return the tensors of a model file that have external data.

    Args:
        name: the name of the model in errors.

    Raises:
        ConfigurationError: the model needs a file in a way that Batchline does not support.
    """
    if not any(sign in model for sign in SIGNS):
        return []
    found = []
    for kind, message, path in _messages(model):
        if kind == "node":
            _check_context(message, name)
        elif kind == "tensor" and _number(message, TENSOR_LOCATION) == EXTERNAL:
            tensor = _external(message, name)
            if path not in READABLE:
                raise ConfigurationError(
                    f"{name} keeps {tensor.name} in the file {tensor.location!r}. Only tensors of "
                    f"the main graph may be in another file, but this one is in "
                    f"{' → '.join(path[1:])}",
                    hint=HINT_ONE_FILE,
                )
            found.append(tensor)
    return found


def check_ranges(
    tensors: list[ExternalTensor], files: Mapping[str, bytes | memoryview], name: str
) -> None:
    """Check that the files have the bytes that tensors name, and that ONNX Runtime takes so many.

    Raises:
        ConfigurationError: a file is too short, or a tensor too large.
    """
    for tensor in tensors:
        if (tensor.length or 0) > TENSOR_MAX_BYTES:
            raise ConfigurationError(
                f"{name} keeps {tensor.name} in another file, with {tensor.length} bytes, but "
                f"ONNX Runtime takes at most {TENSOR_MAX_BYTES} bytes per tensor from memory",
                hint=HINT_SPLIT,
            )
        size, end = len(files[tensor.location]), tensor.offset + (tensor.length or 0)
        if end > size:
            raise ConfigurationError(
                f"{name} keeps {tensor.name} in the bytes {tensor.offset} to {end} of the file "
                f"{tensor.location!r}, which has only {size} bytes",
                hint=f"copy the complete {tensor.location} next to the model file",
            )


def _messages(model: bytes) -> Iterator[tuple[str, memoryview, tuple[str, ...]]]:
    """Return all messages in `PARTS`: kind, content, and the kinds or operators around it."""
    waiting: list[tuple[str, memoryview, tuple[str, ...]]] = [("model", memoryview(model), ())]
    while waiting:
        kind, message, path = waiting.pop()
        yield kind, message, path
        inner = (*path, (_text(message, NODE_OPERATOR) if kind == "node" else kind))
        waiting += [
            (PARTS[kind][number], value, inner)
            for number, value in read_fields(message)
            if number in PARTS[kind] and not isinstance(value, int)
        ]


def _external(message: memoryview, name: str) -> ExternalTensor:
    tensor = f"the tensor {_text(message, TENSOR_NAME)!r}"
    entries: dict[str, str] = {}
    for entry in _all(message, TENSOR_ENTRIES):
        key, value = _text(entry, ENTRY_KEY), _text(entry, ENTRY_VALUE)
        if key not in ENTRIES or key in entries:
            known = "has twice" if key in entries else f"has only {', '.join(sorted(ENTRIES))}, not"
            raise ConfigurationError(
                f"{name} keeps {tensor} in another file, and says so with the entry {key!r}, "
                f"which external data {known}",
                hint=HINT_NEXT_TO_IT,
            )
        entries[key] = value
    location = entries.get("location", "")
    _check_location(location, f"{name} keeps {tensor}")
    numbers = {key: entries[key] for key in ("offset", "length") if key in entries}
    for key, value in numbers.items():
        if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS):
            raise ConfigurationError(
                f"{name} keeps {tensor} in the file {location!r} at the {key} {value[:40]!r}, "
                "which must be a number of bytes from 0 on",
                hint=HINT_NEXT_TO_IT,
            )
    return ExternalTensor(tensor, location, **{key: int(each) for key, each in numbers.items()})


def _check_location(location: str, keeps: str) -> None:
    """Check that a file is named by a path that stays in the folder of the model.

    Raises:
        ConfigurationError: it is not.
    """
    parts = PurePosixPath(location).parts
    problem = ""
    if not parts:
        problem = "which names no file"
    elif location.startswith("/") or location[1:2] == ":":
        problem = "which is an absolute path"
    elif ".." in parts:
        problem = "which is outside of the folder of the model"
    elif "\\" in location or not location.isprintable():
        problem = "which has a backslash or a character that cannot be printed"
    elif "*" in location:  # ONNX Runtime takes "*/_ORT_MEM_ADDR_/*" for an address in its memory
        problem = "which has a *"
    if problem:
        raise ConfigurationError(
            f"{keeps} in the file {location[:200]!r}, {problem}", hint=HINT_NEXT_TO_IT
        )


def _check_context(node: memoryview, name: str) -> None:
    """Reject a node that takes a compiled model from another file.

    Raises:
        ConfigurationError: it does.
    """
    if _text(node, NODE_OPERATOR) != "EPContext":
        return
    attributes = {_text(each, ATTRIBUTE_NAME): each for each in _all(node, NODE_ATTRIBUTE)}
    mode = attributes.get("embed_mode")
    if mode is not None and not _number(mode, ATTRIBUTE_INT):
        file = attributes.get("ep_cache_context", memoryview(b""))
        raise ConfigurationError(
            f"{name} takes a compiled model from the file {_text(file, ATTRIBUTE_STRING)!r}, "
            "which Batchline does not read",
            hint="compile the model with ep.context_embed_mode=1, or add the original model",
        )


def _all(message: memoryview, number: int) -> Iterator[memoryview]:
    for each, value in read_fields(message):
        if each == number and not isinstance(value, int):
            yield value


def _text(message: memoryview, number: int) -> str:
    found = ""
    for value in _all(message, number):
        found = str(value, errors="replace")
    return found


def _number(message: memoryview, number: int) -> int:
    found = 0
    for each, value in read_fields(message):
        if each == number and isinstance(value, int):
            found = value
    return found
