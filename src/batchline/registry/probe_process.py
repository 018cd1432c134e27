"""The process of a probe. It answers each request about a model with a line of JSON."""

import json
import os
import sys
from dataclasses import replace
from typing import Any

from batchline import processes
from batchline.errors import BatchlineError
from batchline.ml.background import in_background, try_in_time
from batchline.ml.batching import Batching
from batchline.ml.content import Bytes, ModelContent
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.signature import Signature
from batchline.ml.time_limit import not_loaded
from batchline.registry.model_file import ModelFile, read_choices


def main() -> None:
    """Answer until there are no more requests. The process ends with its parent, too."""
    processes.stop_with_parent()
    requests, own = sys.stdin.buffer, os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print, and that is no answer
    with os.fdopen(own, "w") as answers:
        while line := requests.readline():
            request = json.loads(line)
            parts = [requests.read(size) for size in request["sizes"]]
            answers.write(json.dumps(answer(request, parts)) + "\n")
            answers.flush()


def answer(request: dict[str, Any], parts: list[Bytes]) -> dict[str, Any]:
    """Return a report as JSON, or nothing about a version that was loaded, or an error."""
    runtime = Runtime(**request["runtime"])
    names = request["external"]
    *rows, model = parts[: len(parts) - len(names)]
    files = parts[len(parts) - len(names) :]
    content = ModelContent(bytes(model), dict(zip(names, files, strict=True)))
    try:
        if "location" in request:
            return _examine(request, rows, content, runtime)
        return _load(request, content, runtime)
    except BatchlineError as error:
        return {"detail": error.detail, "hint": error.hint}


def _examine(
    request: dict[str, Any], rows: list[Bytes], content: ModelContent, runtime: Runtime
) -> dict[str, Any]:
    file = ModelFile(request["location"], content, read_choices(request["options"]))
    sample = (request["sample"], bytes(rows[0])) if rows else None
    found = try_in_time(
        runtime.load_timeout, lambda limit: file.examine(sample, replace(runtime, limit=limit))
    )
    return found.to_json()


def _load(request: dict[str, Any], content: ModelContent, runtime: Runtime) -> dict[str, Any]:
    outcome = in_background(
        lambda: Predictor.load(
            content,
            request["name"],
            Signature.from_json(request["signature"]),
            Batching.from_json(request["batching"]),
            runtime=runtime,
            allow_non_finite=request["allow_non_finite"],
        )
    )
    try:
        outcome.result(runtime.load_timeout)
    except TimeoutError:
        if outcome.done():
            raise  # an error of the load itself
        raise not_loaded(request["name"], runtime.load_timeout) from None
    return {}


if __name__ == "__main__":
    main()
