"""The ONNX Runtime options of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchline.cli.predict_ask import RunSettings
    from batchline.configurations import Settings
    from batchline.ml.runtime import Runtime


def runtime_of(settings: "Settings | RunSettings") -> "Runtime":
    """Return the ONNX Runtime options of the settings."""
    from batchline.ml.runtime import Runtime

    return Runtime(
        providers=settings.providers,
        threads=settings.model_threads,
        parallel_calls=settings.worker_threads,
        optimization=settings.graph_optimization,
        operator_libraries=settings.libraries,
        load_timeout=settings.model_timeout,
    )
