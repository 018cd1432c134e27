"""Fields of a message in Protocol Buffers' encoding, as far as ONNX files need them."""

from collections.abc import Iterator
from typing import TypeVar

Message = TypeVar("Message", bytes, memoryview)

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINT_MAX_BYTES = 10


def read_fields(message: Message) -> Iterator[tuple[int, int | Message]]:
    """Return the fields of a message: their numbers and values. Stop if it is not a message."""
    place = 0
    while place < len(message):
        key, place = read_varint(message, place)
        if key & 7 == VARINT:
            value, place = read_varint(message, place)
            yield key >> 3, value
            continue
        if key & 7 == BYTES:
            size, place = read_varint(message, place)
        elif key & 7 in (FIXED32, FIXED64):
            size = 4 if key & 7 == FIXED32 else 8
        else:
            return
        yield key >> 3, message[place : place + size]
        place += size


def read_varint(message: bytes | memoryview, place: int) -> tuple[int, int]:
    """Return a number of seven bits per byte, the lowest first, and the position after it."""
    value = 0
    for index, byte in enumerate(message[place : place + VARINT_MAX_BYTES]):
        value |= (byte & 127) << 7 * index
        place += 1
        if byte < 128:
            break
    return value, place


def write_bytes(number: int, value: bytes) -> bytes:
    """Return a field with a text, bytes or another message."""
    return _varint(number << 3 | BYTES) + _varint(len(value)) + value


def write_integer(number: int, value: int) -> bytes:
    """Return a field with an integer. A negative one is given as its two's complement."""
    return _varint(number << 3 | VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
