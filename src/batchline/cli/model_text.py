"""Print the description of a model: inputs, outputs and their roles, batching mode."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from batchline.ml.examination.report import WARNING
from batchline.ml.inputs import shape_text
from batchline.ml.signature import NO_LABEL

MAX_NAMES = 10
"""Names that a line lists."""

if TYPE_CHECKING:
    from batchline.ml.batching import Batching
    from batchline.ml.content import ModelContent
    from batchline.ml.examination.report import ModelReport
    from batchline.ml.inputs import Input
    from batchline.ml.signature import Output, Signature


def print_report(found: "ModelReport", content: "ModelContent") -> None:
    """Print the result of examining a model, and the external data that belongs to it."""
    for name, part in content.external.items():
        typer.echo(f"external data: {name}, {len(part)} bytes")
    print_signature(found.signature)
    print_batching(found.batching, found.notes)


def print_signature(signature: "Signature") -> None:
    """Print one line per input and output."""
    for given in signature.inputs:
        typer.echo(f"input {given.name}: {_input(given)}")
    for output in signature.outputs:
        typer.echo(f"output {output.name}: {_output(output, signature)}")
    if signature.labels is not None and signature.probabilities and signature.label is None:
        typer.echo("label: the class with the highest probability")
    if signature.label == NO_LABEL:
        typer.echo("label: not known, since the outputs do not show which one has it")
    print_features(signature)


def print_features(signature: "Signature") -> None:
    """Print the names of the features, and which of them may be missing, if there are any."""
    from batchline.ml.features import features_of

    if signature.features is not None:
        typer.echo(f"features: {_names(signature.features)}")
    features = features_of(signature)
    floats = [each for each in features if each.of.dtype != "str"]
    missing = [each.name for each in floats if each.may_be_missing]
    if missing:
        every = "all of them" if len(missing) == len(features) > 1 else _names(missing)
        typer.echo(f"may be missing: {every}")
    for given in signature.inputs:
        if given.missing_text is not None:
            text = json.dumps(given.missing_text, ensure_ascii=False)
            typer.echo(f"may be missing: {given.name}, for which the model gets {text}")


def _names(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMES
    more = f", … ({len(names)} in all)" if rest > 0 else ""
    return ", ".join(f'"{name}"' if "," in name else name for name in names[:MAX_NAMES]) + more


def print_batching(batching: "Batching", notes: Sequence[str]) -> None:
    """Print the batching mode, why it is not `batched`, and the notes of the examination."""
    why = f" ({batching.reason})" if batching.reason else ""
    typer.echo(f"batching: {batching.verdict}{why}")
    if batching.size is None:
        typer.echo(f"largest difference when batched: {batching.difference or 0:.2g}")
    for note in notes:
        typer.echo(note if note.startswith(WARNING) else f"note: {note}")


def _input(given: "Input") -> str:
    if given.per_item:
        return f"{given.dtype} {_shape(given.shape)}, once per item"
    rows = f", rows along axis {given.axis}" if given.axis else ""
    return f"{given.dtype} {_shape(given.shape)}{rows}"


def _output(output: "Output", signature: "Signature") -> str:
    if output.name == signature.label:
        return "label"
    if output.name == signature.probabilities and signature.labels is not None:
        return f"probabilities of {', '.join(signature.labels)}"
    if output.constant:
        return f"{output.dtype} {_shape(output.shape)}, the same for each row"
    return f"{output.dtype} {_shape(output.shape)}"


def _shape(shape: Sequence[int | str]) -> str:
    return shape_text(shape) if shape else "(one value)"
