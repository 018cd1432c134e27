"""Register items now, predict them later in batches, read the predictions by id.

In Python, `load_model` and `predict_file` predict tables and files in this process.
"""

TYPE_CHECKING = False  # as in typing, which takes longer to import than this module

if TYPE_CHECKING:
    from batchline.errors import BatchlineError
    from batchline.file_errors import TooManyErrors
    from batchline.files.options import Format, ReadOptions, WriteOptions
    from batchline.scoring.python_api import Model, load_model, predict_file

__version__ = "0.1.0"
__all__ = [
    "BatchlineError",
    "Format",
    "Model",
    "ReadOptions",
    "TooManyErrors",
    "WriteOptions",
    "__version__",
    "load_model",
    "predict_file",
]


def __getattr__(name: str) -> object:
    """Import what predicts on its first use: it takes a third of a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchline.scoring import python_api

    return getattr(python_api, name)
