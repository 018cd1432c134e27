"""Find out the signature, the roles of the outputs, and the batching mode of a new model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.content import ModelContent
from batchline.ml.data_loader import load_batch, to_item_results
from batchline.ml.examination import samples
from batchline.ml.examination.accepted_rows import accepted_rows, which_accepted
from batchline.ml.examination.batch_dimension import (
    NO_AXIS,
    BatchDimension,
    Origin,
    batch_dimensions,
)
from batchline.ml.examination.batching import NotABatch, detect_batching
from batchline.ml.examination.feature_names import find_feature_names
from batchline.ml.examination.missing import MissingChoices, find_missing
from batchline.ml.examination.missing_trial import MissingTrial
from batchline.ml.examination.onnx_file import Graph, read_graph
from batchline.ml.examination.output_rows import Trial, try_outputs
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.examination.roles import Roles, Tried, find_roles
from batchline.ml.examination.sources import constant_outputs, quantizes
from batchline.ml.external_data import check_ranges, external_tensors
from batchline.ml.features import with_width
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors, Tensor
from batchline.ml.runtime import Runtime
from batchline.ml.session import DTYPES, Session
from batchline.ml.signature import Signature

EXAMPLE_MAX_CHARACTERS = 10_000


def examine(
    content: ModelContent,
    name: str,
    choices: Choices | None = None,
    *,
    sample: tuple[str, bytes] | None = None,
    runtime: Runtime | None = None,
) -> ModelReport:
    """Open the model, try it on rows, and find out whether they can be batched.

    Args:
        name: the name of the model in errors.
        sample: name and content of a file with rows to try, or None for made-up rows.

    Raises:
        ConfigurationError: the model cannot be served.
    """
    model = _open(content, name, choices or Choices(), runtime or Runtime())
    graph, reason = model.graph, ""
    axis = model.choices.rows_axis
    for found in batch_dimensions(model.session.inputs, DTYPES, name, axis):
        layout = replace(found, inputs=with_width(found.inputs, model.choices.features))
        try:
            rows = accepted_rows(model.session, layout, sample, name)
            trial = try_outputs(model.session, rows, layout, constant_outputs(graph))
            batching = detect_batching(model.session, rows, trial, quantizes=quantizes(graph))
            _try_other_values(model, rows, trial, batching)
        except NotABatch as error:
            if layout.size is None:
                raise _ask_for_the_axis(layout, error.detail) from error
            reason = reason or error.detail
        except ModelFailed as error:
            reason = reason or error.detail
        else:
            batching = replace(batching, reason=batching.reason or _why(layout, reason))
            return _report(model, trial.signature, batching, rows, given=sample is not None)
    raise ConfigurationError(
        f"{name} does not accept made-up rows: {reason}",
        hint="give rows that it accepts: add --sample ROWS.json",
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """A model that can be loaded, with its graph and the user's choices."""

    session: Session
    graph: Graph
    choices: Choices


def _open(content: ModelContent, name: str, choices: Choices, runtime: Runtime) -> _Model:
    check_ranges(external_tensors(content.model, name), content.external, name)
    session = Session.open(content, name, runtime)
    graph = read_graph(content.model)
    _check_output(session, choices.probabilities)
    _check_ranks(graph, name)
    return _Model(session, graph, choices)


def _check_output(session: Session, output: str | None) -> None:
    names = [each.name for each in session.outputs]
    if output is not None and output not in names:
        raise ConfigurationError(
            f"the model has no output {output}", hint=f"name one of its outputs: {', '.join(names)}"
        )


def _check_ranks(graph: Graph, name: str) -> None:
    if graph.unranked:
        inputs = ", ".join(sorted(graph.unranked))
        raise ConfigurationError(
            f"{name} does not say what shape its inputs have: {inputs}",
            hint="export it with a shape for each input, such as [batch, 4]",
        )


def _ask_for_the_axis(layout: BatchDimension, reason: str) -> ConfigurationError:
    found = f"{layout} does not hold independent rows: {reason}"
    first = next(each for each in layout.inputs if not each.per_item)
    again = layout.name or first.axis
    return ConfigurationError(
        found,
        hint=f"say what a row is: add `--rows-axis {NO_AXIS}` if one "
        "input is one row, `--rows-axis NUMBER` if the rows are along another axis, or "
        f"`--rows-axis {again}` to predict these rows one per call",
    )


def _why(layout: BatchDimension, reason: str) -> str:
    if not layout.axis and layout.origin is Origin.TOLD:
        return "one input is one row, by --rows-axis none"
    if not layout.axis:
        return f"the inputs have no batch dimension{'; ' if reason else ''}{reason}"
    if layout.size is not None:
        return f"the batch dimension has the fixed size {layout.size}"
    return ""


def _try_other_values(model: _Model, rows: RowTensors, trial: Trial, batching: Batching) -> None:
    """Check that rows stay independent with other values of the per-item inputs.

    Raises:
        NotABatch: they influence each other, as with a switch for training.
    """
    if batching.size is not None:
        return
    for other in samples.other_values(rows, trial.layout.inputs):
        accepted, _ = which_accepted(model.session, other, trial.layout)
        if len(accepted) == len(other):  # not every model accepts every value
            detect_batching(model.session, other, trial, quantizes=quantizes(model.graph))


def _report(
    model: _Model, tried: Signature, batching: Batching, rows: RowTensors, *, given: bool
) -> ModelReport:
    outputs = _together(model.session, rows, batching, tried)
    declared = [
        replace(each, dtype=_dtype(output))
        for each, output in zip(tried.outputs, outputs, strict=True)
    ]
    notes = [
        f"the output {each.name} is declared with shape {list(each.shape)}, but has {list(came)}"
        for each, output in zip(declared, outputs, strict=True)
        if isinstance(output, np.ndarray) and not _fits(each.shape, came := output.shape[1:])
    ]
    by_name = {each.name: output for each, output in zip(declared, outputs, strict=True)}
    _check_names(by_name, "the output")
    _check_sizes(by_name)
    constants = constant_outputs(model.graph)
    per_row = {name: output for name, output in by_name.items() if name not in constants}
    choices = model.choices
    roles = find_roles(Tried(per_row, model.graph), choices.labels, choices.probabilities)
    _check_names(roles.own_names or (), "the class name")
    notes += [roles.note] if roles.note else []
    signature = _with_roles(replace(tried, outputs=tuple(declared)), roles)
    signature, more = _with_features(model, signature, batching, rows)
    notes += more
    predictor = Predictor(model.session, signature, batching, choices.allow_non_finite)
    return ModelReport(signature, batching, tuple(notes), _example(predictor, rows, given=given))


def _check_names(names: Iterable[str], what: str) -> None:
    """Check that names can be stored and shown. PostgreSQL holds no NUL."""
    for name in names:
        if not name.isprintable():
            raise ConfigurationError(
                f"{what} {name!r} has characters that cannot be printed",
                hint="export the model with another name",
            )


def _check_sizes(outputs: Mapping[str, Any]) -> None:
    """Check that the prediction of a row is not larger than a prediction may be."""
    for name, output in outputs.items():
        values = np.size(output[0]) if isinstance(output, np.ndarray) else 0
        if values * len("0,") > MAX_BODY_BYTES:
            raise ConfigurationError(
                f"the output {name} has {values} values for one row, and a prediction has at most "
                f"{MAX_BODY_BYTES} bytes",
                hint=f"export the model with a smaller output than {name}",
            )


def _with_roles(signature: Signature, roles: Roles) -> Signature:
    return replace(
        signature,
        labels=roles.names,
        probabilities=roles.probabilities,
        label=roles.label,
        label_values=None if roles.own_names == roles.names else roles.own_names,
    )


def _with_features(
    model: _Model, signature: Signature, batching: Batching, rows: RowTensors
) -> tuple[Signature, list[str]]:
    """Return the signature with its features and which of them may be missing, and notes."""
    choices = model.choices
    found = find_feature_names(
        signature.inputs, choices.features, choices.columns, model.session.metadata
    )
    trial = MissingTrial(model.session, replace(signature, features=found.names), batching, rows)
    told = MissingChoices(choices.missing, choices.no_missing, choices.missing_text)
    signature, notes = find_missing(model.graph, trial, told)
    return signature, [found.note, *notes] if found.note else notes


def _example(predictor: Predictor, rows: RowTensors, *, given: bool) -> dict[str, Any] | None:
    """Return data that the model accepts, with what it predicts for it, if that is small.

    Args:
        given: whether the user gave the rows. If so, the first of them is the example.
    """
    made_up, tried = predictor.signature.example(), _data_of(rows, predictor.signature)
    for data in (tried, made_up) if given else (made_up, tried):
        batch = load_batch({0: orjson.dumps(data)}, predictor.signature)
        found = to_item_results(batch, predictor.predict_batch(batch))
        text = found.predictions.get(0)
        if text is not None and len(text) <= EXAMPLE_MAX_CHARACTERS:
            label = found.labels.get(0)
            return {"data": data, "prediction": orjson.loads(text), "label": label}
    return None


def _data_of(rows: RowTensors, signature: Signature) -> Any:
    """Return the data of the first row that was tried."""
    values = {name: _listed(tensor[:1]) for name, tensor in rows.tensors.items()}
    values |= {name: _listed(tensor) for name, tensor in rows.once.items()}
    return values[signature.inputs[0].name] if signature.is_plain else values


def _listed(tensor: Tensor) -> Any:
    """Return the values as lists. A float32 becomes 5.1, and not 5.099999904632568."""
    if tensor.dtype.kind != "f":
        return tensor.tolist()
    return orjson.loads(
        orjson.dumps(np.ascontiguousarray(tensor), option=orjson.OPT_SERIALIZE_NUMPY)
    )


def _together(
    session: Session, rows: RowTensors, batching: Batching, signature: Signature
) -> list[Any]:
    """Return the outputs of all rows, predicted unbatched, as one array if their shapes allow."""
    single = replace(batching, size=1) if batching.size is None else batching
    alone = [call(session, rows[[place]], single, signature) for place in range(len(rows))]
    joined: list[Any] = []
    for parts in zip(*alone, strict=True):
        if all(isinstance(part, list) for part in parts):
            joined.append([entry for part in parts for entry in part])
        elif len({part.shape for part in parts}) == 1:
            joined.append(np.concatenate(parts))
        else:
            joined.append(list(np.concatenate([part.ravel() for part in parts])))
    return joined


def _dtype(output: Any) -> str:
    if isinstance(output, list) and output and isinstance(output[0], np.ndarray):
        output = output[0]  # rows of several shapes, or a constant
    if not isinstance(output, np.ndarray):
        return "map" if output and isinstance(output[0], dict) else "list"
    return "str" if output.dtype.kind in "OU" else str(output.dtype)


def _fits(declared: Sequence[int | str], found: Sequence[int]) -> bool:
    return len(declared) == len(found) and all(
        type(size) is str or size == other for size, other in zip(declared, found, strict=True)
    )
