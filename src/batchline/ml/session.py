"""Open a model with ONNX Runtime, call it, and explain its errors in a sentence."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

# Without this, ONNX Runtime keeps a device id and usage events in the home folder, to upload them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from batchline.errors import ConfigurationError, ModelFailed
from batchline.machine import cores
from batchline.metrics import MODEL_CALL_SECONDS
from batchline.ml import bfloat16
from batchline.ml.bfloat16 import BFLOAT16
from batchline.ml.content import Bytes, ModelContent
from batchline.ml.error_lines import first_line
from batchline.ml.external_data import HINT_ONE_FILE, HINT_SPLIT
from batchline.ml.label_places import NOWHERE, PLACE, with_names, with_places
from batchline.ml.rows import Tensor
from batchline.ml.runtime import Runtime
from batchline.ml.signature import Signature
from batchline.ml.time_limit import TimeLimit

DTYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
"""ONNX Runtime's names of the types that an input may have, and numpy's."""

RUNTIME = f"onnxruntime {ort.__version__}"

NO_FOLDER = f"{os.devnull}/no-folder"
"""A folder that nobody can create. ONNX Runtime would look here for files that it was not given."""

OPTIMIZATIONS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class Session:
    """One model file in memory. Several threads may call it at once."""

    def __init__(
        self, session: ort.InferenceSession, limit: TimeLimit | None = None, label: str = ""
    ) -> None:
        self._session = session
        self._limit = limit
        self._label = label
        self.inputs = session.get_inputs()
        self.outputs = [each for each in session.get_outputs() if each.name != PLACE]
        self._names = [output.name for output in self.outputs]
        self._has_bfloat16 = any(output.type == BFLOAT16 for output in self.outputs)

    @classmethod
    def open(
        cls, content: ModelContent, name: str, runtime: Runtime, signature: Signature | None = None
    ) -> "Session":
        """Load the model from memory. ONNX Runtime reads no file.

        Args:
            signature: of a model that was examined. It may then give the places of labels instead
                of their names.

        Raises:
            ConfigurationError: this ONNX Runtime cannot run it.
        """
        missing = set(runtime.providers) - set(ort.get_available_providers())
        if missing:
            raise ConfigurationError(
                f"this ONNX Runtime has no execution provider {', '.join(sorted(missing))}, only "
                f"{', '.join(ort.get_available_providers())}",
                hint="install the build of ONNX Runtime that has it, or set EXECUTION_PROVIDERS",
            )
        try:
            options = _options(runtime, content.external)
            changed = signature and with_places(content.model, signature)
            with runtime.limit.call() if runtime.limit else nullcontext():
                session = ort.InferenceSession(
                    changed or content.model, options, providers=list(runtime.providers)
                )
        except Exception as error:  # ONNX Runtime has no base class for its errors
            raise ConfigurationError(
                f"{name} is not a model that ONNX Runtime {ort.__version__} can load: "
                f"{first_line(error)}",
                hint=_hint_for(str(error)),
            ) from error
        if not session.get_outputs():
            raise ConfigurationError(
                f"{name} has no outputs", hint="export the model again with at least one output"
            )
        _check_outputs(session, name)
        label = signature.label if signature and changed else None
        return cls(session, runtime.limit, label or "")

    def limited(self, limit: TimeLimit | None) -> "Session":
        """Return the same model with another time for one call."""
        return Session(self._session, limit, self._label)

    @property
    def gives_places(self) -> bool:
        """Whether its label is the place of the class, or a text if it is none of the classes."""
        return bool(self._label)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the metadata properties in the file."""
        found: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def run(self, feeds: Mapping[str, Tensor]) -> list[Any]:
        """Return the outputs in their declared order.

        Raises:
            TimedOut: the call took too long, and was ended.
            ModelFailed: the model raised an error.
        """
        began = time.perf_counter()
        try:
            if self._label:
                return self._run_with_places(feeds)
            return self._run_in_time(feeds, self._names)
        finally:
            MODEL_CALL_SECONDS.observe(time.perf_counter() - began)

    def _run_with_places(self, feeds: Mapping[str, Tensor]) -> list[Any]:
        at = self._names.index(self._label)
        found = self._run_in_time(feeds, [*self._names[:at], PLACE, *self._names[at + 1 :]])
        if (found[at] == NOWHERE).any():
            found[at] = with_names(found[at], self._run_in_time(feeds, self._names)[at])
        return found

    def _run_in_time(self, feeds: Mapping[str, Tensor], names: Sequence[str]) -> list[Any]:
        if self._limit is None:
            return self._run(feeds, names, None)
        with self._limit.call() as call:
            try:
                return self._run(feeds, names, call.options)
            except ModelFailed as error:
                raise (self._limit.error() if call.is_late else error) from None

    def _run(
        self, feeds: Mapping[str, Tensor], names: Sequence[str], options: ort.RunOptions | None
    ) -> list[Any]:
        try:
            if self._has_bfloat16:
                return bfloat16.run(self._session, names, feeds, options)
            return list(self._session.run(names, dict(feeds), options))
        except Exception as error:  # ONNX Runtime has no base class for its errors
            raise ModelFailed(first_line(error)) from error


def _check_outputs(session: ort.InferenceSession, name: str) -> None:
    """Check that the outputs can be read. ONNX Runtime gives some types as their raw bytes."""
    types = {output.name: output.type for output in session.get_outputs()}
    for output, kind in types.items():
        inner = re.sub(r"^seq\((.*)\)$", r"\1", kind)
        if not inner.startswith("map(") and inner not in {*DTYPES, BFLOAT16}:
            raise ConfigurationError(
                f"the output {output} of {name} has the type {kind}, which JSON cannot hold",
                hint=f"add a Cast to float for {output} to the model, and export it again",
            )
    takes_strings = any(given.type == "tensor(string)" for given in session.get_inputs())
    if takes_strings and BFLOAT16 in types.values():
        outputs = ", ".join(output for output, kind in types.items() if kind == BFLOAT16)
        raise ConfigurationError(
            f"{name} has string inputs and the bfloat16 output {outputs}, which ONNX Runtime does "
            "not allow together",
            hint=f"add a Cast to float for {outputs} to the model, and export it again",
        )


def _options(runtime: Runtime, external: Mapping[str, Bytes]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # Calls run in parallel, so each gets its share of the cores. A thread that waits for work must
    # not spin on a core that another call could use.
    share = max(1, cores() // runtime.parallel_calls)
    options.intra_op_num_threads = runtime.threads or share
    options.inter_op_num_threads = 1
    options.graph_optimization_level = OPTIMIZATIONS[runtime.optimization]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Only these bytes are part of the model that was added. ONNX Runtime copies them.
    if external:
        files = list(external.values())
        options.add_external_initializers_from_files_in_memory(
            list(external), files, list(map(len, files))
        )
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", NO_FOLDER
    )
    for library in runtime.operator_libraries:
        options.register_custom_ops_library(library)
    options.log_severity_level = 4  # errors are raised, and reported by us
    return options


CUSTOM_OPERATOR = re.compile(r"(\S+):\w+\(-?\d+\) is not a registered function/op")
OWN_DOMAINS = {"ai.onnx", "ai.onnx.ml", "com.microsoft"}

HINTS = {
    "Failed to load library": "correct OPERATOR_LIBRARIES, and install the library on each machine",
    "byte limit for embedded": HINT_SPLIT,
    "external": HINT_ONE_FILE,
    "Protobuf parsing failed": "name a complete ONNX file",
    "No graph was found": "name a complete ONNX file",
    "opset": "export the model again for an older opset, or upgrade onnxruntime",
    "No Op registered": "upgrade onnxruntime, or export the model without this operator",
    "not a registered": "upgrade onnxruntime, or export the model without this operator",
    "locale": "install the locale that it names on each machine that runs a job",
}
"""Hints for the user, by ONNX Runtime's message. The first match is used."""


def _hint_for(said: str) -> str:
    if (custom := CUSTOM_OPERATOR.search(said)) and custom[1] not in OWN_DOMAINS:
        return (
            f"set OPERATOR_LIBRARIES to the library with the operators of {custom[1]}, here and "
            "for jobs, or export the model without them"
        )
    fitting = (hint for part, hint in HINTS.items() if part.lower() in said.lower())
    return next(fitting, "export the model to ONNX again, for this version of ONNX Runtime")
