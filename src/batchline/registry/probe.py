"""Load and try models in a process of its own, which a model may end.

Native code runs a model. It may crash, or need all of the memory, and then nothing in its process
can say so. A batch job has worker processes for this. A command leaves the model to a probe.
"""

import json
import shlex
import signal
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from batchline import redaction
from batchline.errors import ConfigurationError, ModelUnavailable
from batchline.ml.batching import Batching
from batchline.ml.content import Bytes, ModelContent
from batchline.ml.examination.report import ModelReport
from batchline.ml.runtime import Runtime
from batchline.processes import AnsweringProcess, end_in_words
from batchline.registry.model_file import ModelFile, Sample

if TYPE_CHECKING:  # it imports what speaks to databases, which a file does not need
    from batchline.registry.version import Version

MODULE = "batchline.registry.probe_process"


class _Ended(Exception):
    """The process ended before it had an answer."""

    def __init__(self, code: int) -> None:
        super().__init__(end_in_words(code))
        self._was_killed = code == -signal.SIGKILL

    def hint(self, command: str) -> str:
        """Return how to go on, with the command that comes then."""
        remedy = "give it more memory" if self._was_killed else "export the model again"
        return f"{remedy}, then run: {command}"


class Probe:
    """The process. It starts when there is a model, and again after a model has ended it."""

    def __init__(self) -> None:
        self._process: AnsweringProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kill()

    def examine(self, file: ModelFile, sample: Sample, runtime: Runtime) -> ModelReport:
        """Return what `ModelFile.examine` finds out. A call may take `runtime.load_timeout`.

        Raises:
            ConfigurationError: the model cannot be served, took too long, or ended the process.
        """
        name, rows = (None, []) if sample is None else (sample[0], [sample[1]])
        request = {"location": file.location, "options": file.options, "sample": name}
        try:
            answer = self._ask(request, rows, file.content, runtime)
        except _Ended as ended:
            where = redaction.location(file.location)
            raise ConfigurationError(
                f"the model file {where or 'of a version'} ended the process that validates it "
                f"({ended})",
                hint=ended.hint(
                    f"batchline models check {shlex.quote(where) if where else 'FILE'}"
                ),
            ) from None
        if "detail" in answer:
            raise ConfigurationError(answer["detail"], hint=answer["hint"])
        return ModelReport.from_json(answer)

    def load(
        self, version: "Version", batching: Batching, content: ModelContent, runtime: Runtime
    ) -> None:
        """Load a version to find out whether that is possible within `runtime.load_timeout`.

        Raises:
            ModelUnavailable: it is not, or the model ended the process.
        """
        request = {
            "name": str(version),
            "signature": version.signature.to_json(),
            "batching": batching.to_json(),
            "allow_non_finite": version.allow_non_finite,
        }
        try:
            answer = self._ask(request, [], content, runtime)
        except _Ended as ended:
            raise ModelUnavailable(
                f"{version} ended the process that loads it ({ended})",
                hint=ended.hint(f"batchline models add {version.name} FILE"),
            ) from None
        if "detail" in answer:
            raise ModelUnavailable(answer["detail"], hint=answer["hint"])

    def _ask(
        self, request: dict[str, Any], rows: list[bytes], content: ModelContent, runtime: Runtime
    ) -> dict[str, Any]:
        """Send a request with the bytes that it is about, and return the answer.

        Raises:
            _Ended: the process ended before.
        """
        parts: list[Bytes] = [*rows, content.model, *content.external.values()]
        names = [each.name for each in fields(runtime) if each.name != "limit"]
        request |= {
            "runtime": {name: getattr(runtime, name) for name in names},
            "external": list(content.external),
            "sizes": list(map(len, parts)),
        }
        answer = self._answer(request, parts)
        if "detail" in answer:
            self._kill()  # a call that took too long may go on
        return answer

    def _answer(self, request: dict[str, Any], parts: list[Bytes]) -> dict[str, Any]:
        process = self._process = self._process or _start()
        try:
            line = process.ask([json.dumps(request).encode(), b"\n", *parts])
        except BaseException:  # such as Ctrl-C
            self._kill()
            raise
        if not line.endswith(b"\n"):
            self._process = None
            raise _Ended(process.wait())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()


def _start() -> AnsweringProcess:
    try:
        return AnsweringProcess(MODULE)
    except OSError as error:
        raise ConfigurationError(
            f"no process can be started to load the model in: {error.strerror}",
            hint="allow more processes or more memory",
        ) from error


def examine(file: ModelFile, sample: Sample, runtime: Runtime) -> ModelReport:
    """Examine a single file with a probe.

    Raises:
        ConfigurationError: as for `Probe.examine`.
    """
    with Probe() as probe:
        return probe.examine(file, sample, runtime)
