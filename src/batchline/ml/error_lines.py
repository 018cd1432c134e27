"""The first line of an error, without ONNX Runtime, which takes a sixth of a second to import."""

import re

SOURCE_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\([^)]*\)(?: const)? ")
"""A place in ONNX Runtime's source that its messages name."""


def first_line(error: Exception) -> str:
    """Return ONNX Runtime's message without its source lines, short enough to store and show."""
    line = str(error).strip().partition("\n")[0]
    return SOURCE_PLACE.sub("", line)[:500] or type(error).__name__
