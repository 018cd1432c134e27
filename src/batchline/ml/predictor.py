"""The ONNX model: load it, read its signature, predict a batch."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

# Else ONNX Runtime's own builds keep a device id and usage events in the home folder, to upload.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from batchline.constants import CALL_MAX_BYTES, CALL_MAX_ROWS
from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.data_loader import Tensor
from batchline.ml.results import Result, find_probabilities, is_zipmap, to_results
from batchline.ml.signature import Signature
from batchline.processes import cores

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


class Predictor:
    """One model file in one ONNX Runtime session, which many threads may call at once."""

    def __init__(
        self, session: ort.InferenceSession, signature: Signature, sha256: str, row_bytes: int
    ) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.signature = signature
        self.sha256 = sha256
        self.call_rows = max(1, min(CALL_MAX_ROWS, CALL_MAX_BYTES // row_bytes))
        """How many rows one call takes so that its tensors fit into the memory."""

    @classmethod
    def load(cls, model: Path, labels: Path | None, *, parallel_calls: int) -> Self:
        """Load the file and try it once, on a row of zeros.

        Raises:
            ConfigurationError: the file is not there, is no model, takes what Batchline cannot
                give, or its labels do not fit.
        """
        content = _read(model)
        session = _open_session(content, model, parallel_calls)
        name, dtype, shape = _input_of(session, model)
        outputs = _example_outputs(session, name, np.zeros((1, *shape), dtype), model)
        signature = Signature(name, dtype, shape, _labels_of(outputs, labels))
        row_bytes = sum(map(_size, [np.zeros(shape, dtype), *outputs]))
        return cls(session, signature, hashlib.sha256(content).hexdigest(), row_bytes)

    def predict(self, tensor: Tensor) -> list[Result]:
        """One result, or failure, for each row of a tensor of shape (rows, *row shape).

        Raises:
            ModelFailed: the model raised, or gave another number of results than rows.
        """
        try:
            outputs = self._session.run(self._outputs, {self.signature.name: tensor})
        except Exception as error:  # ONNX Runtime has no base class for its errors
            raise ModelFailed(_first_line(error)) from error
        for name, output in zip(self._outputs, outputs, strict=True):
            given = len(output) if np.ndim(output) else 0
            if given != len(tensor):
                raise ModelFailed(f"output {name} has {given} results for {len(tensor)} rows")
        return to_results(outputs, self._outputs, self.signature)


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the model file {model} cannot be read: {error.strerror}",
            hint="set MODEL_FILEPATH to an ONNX file, or leave it out for the packaged iris model",
        ) from error


def _open_session(content: bytes, model: Path, parallel_calls: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # Calls run side by side, so each gets its share of the cores; and a thread that waits for work
    # must not spin on a core that another call could use.
    options.intra_op_num_threads = max(1, cores() // parallel_calls)
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised, and reported by us
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no base class for its errors
        raise ConfigurationError(
            f"the model file {model} is not a model that ONNX Runtime {ort.__version__} can load: "
            f"{_first_line(error)}",
            hint="export the model to ONNX again, for this version of ONNX Runtime or an older one",
        ) from error


def _input_of(session: ort.InferenceSession, model: Path) -> tuple[str, str, tuple[int, ...]]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _unsupported(model, f"takes {len(inputs)} inputs", "one input")
    name, kind, shape = inputs[0].name, inputs[0].type, inputs[0].shape
    if kind not in DTYPES:
        raise _unsupported(model, f"takes {kind}", f"one of {', '.join(DTYPES)}")
    if not shape or isinstance(shape[0], int):
        raise _unsupported(model, f"has the input shape {shape}", "a free first (batch) axis")
    if not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        raise _unsupported(model, f"has the input shape {shape}", "fixed axes after the first")
    return name, DTYPES[kind], tuple(shape[1:])


def _size(tensor: Any) -> int:
    return tensor.nbytes if isinstance(tensor, np.ndarray) else 0


def _unsupported(model: Path, has: str, needs: str) -> ConfigurationError:
    return ConfigurationError(
        f"the model {model} {has}; this version of Batchline needs {needs}",
        hint="export the model with such an input",
    )


def _example_outputs(
    session: ort.InferenceSession, name: str, zeros: Tensor, model: Path
) -> list[Any]:
    """What the model gives for a row of zeros, or else of ones: not every model takes a zero."""
    for row in (zeros, zeros + 1):
        try:
            return list(session.run(None, {name: row.astype(zeros.dtype)}))
        except Exception as error:  # ONNX Runtime has no base class for its errors
            problem = error
    raise ConfigurationError(
        f"the model {model} fails on a row of zeros and on a row of ones: {_first_line(problem)}",
        hint="try the file with onnxruntime alone",
    ) from problem


def _labels_of(outputs: list[Any], path: Path | None) -> tuple[str, ...] | None:
    """The label file's labels; without one, a classifier's own, or the numbers of its classes."""
    probabilities = find_probabilities(outputs)
    classes = None if probabilities is None else _classes_of(probabilities)
    if path is None:
        return classes if probabilities is not None and _is_classifier(outputs) else None
    labels = _read_labels(path)
    if probabilities is not None and _names_its_classes(probabilities) and labels != classes:
        raise ConfigurationError(
            f"the label file {path} gives other names than the model itself, which calls its "
            f"classes {', '.join(classes or ())}",
            hint="leave LABEL_FILEPATH out for this model",
        )
    if classes is None or len(classes) != len(labels):
        raise ConfigurationError(
            f"the label file {path} has {len(labels)} labels, but the model gives "
            f"{len(classes) if classes else 'no'} probabilities",
            hint="LABEL_FILEPATH needs one label for each class; leave it out for other models",
        )
    return labels


def _classes_of(probabilities: Any) -> tuple[str, ...]:
    if is_zipmap(probabilities):
        return tuple(str(key) for key in probabilities[0])
    return tuple(str(index) for index in range(probabilities.shape[1]))


def _names_its_classes(probabilities: Any) -> bool:
    return is_zipmap(probabilities) and any(isinstance(key, str) for key in probabilities[0])


def _is_classifier(outputs: list[Any]) -> bool:
    """A ZipMap, or beside the probabilities one label (an integer or a text) for each row."""
    return any(
        is_zipmap(output)
        or (isinstance(output, np.ndarray) and output.ndim == 1 and output.dtype.kind in "iOU")
        for output in outputs
    )


def _read_labels(path: Path) -> tuple[str, ...]:
    """Labels in the order of their class index: a JSON list, or an object from index to label."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            stored = [stored[str(index)] for index in range(len(stored))]
    except OSError as error:
        raise ConfigurationError(
            f"the label file {path} cannot be read: {error.strerror}",
            hint="set LABEL_FILEPATH to a JSON file, or leave it out",
        ) from error
    except KeyError as error:
        raise _bad_labels(path, f"index {error} is missing; they count from 0") from error
    except (ValueError, RecursionError) as error:
        raise _bad_labels(path, f"it is not JSON: {_first_line(error)}") from error
    if not isinstance(stored, list) or not all(isinstance(label, str) for label in stored):
        raise _bad_labels(path, "it is not a list of names")
    if len(set(stored)) != len(stored):
        raise _bad_labels(path, "a name appears twice")
    if any(not label.isprintable() for label in stored):
        raise _bad_labels(path, "a name holds characters that cannot be shown")
    return tuple(stored)


def _bad_labels(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the label file {path} cannot be used: {problem}",
        hint='write it as {"0": "setosa", "1": "versicolor", …} or ["setosa", "versicolor", …]',
    )


def _first_line(error: Exception) -> str:
    """ONNX Runtime's message without its own source lines; short enough to store and to show."""
    return str(error).strip().partition("\n")[0][:500] or type(error).__name__
