"""How models are run. A process that leaves models to another one imports no ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchline.constants import MODEL_TIMEOUT

if TYPE_CHECKING:
    from batchline.ml.time_limit import TimeLimit


@dataclass(frozen=True, slots=True)
class Runtime:
    """How models are run.

    Args:
        providers: execution providers, the preferred one first.
        threads: threads of one call; 0 divides the cores among the calls.
        parallel_calls: how many calls there may be at once.
        optimization: graph optimization level, a key of `OPTIMIZATIONS`.
        operator_libraries: paths of shared libraries with custom operators. They run code, so they
            come from the operator's settings and never from the database.
        limit: the time for one call, and for loading a model that is tried, or None for any.
        load_timeout: seconds for loading a model that was added, and for `limit` in a probe.
    """

    providers: Sequence[str] = ("CPUExecutionProvider",)
    threads: int = 0
    parallel_calls: int = 1
    optimization: str = "all"
    operator_libraries: Sequence[str] = ()
    limit: "TimeLimit | None" = field(default=None, repr=False)
    load_timeout: float = field(default=MODEL_TIMEOUT, repr=False)
