"""What validation found about model files, kept so that a file is examined once per machine.

An entry is found by the file's bytes, the options, and the versions of Batchline and ONNX Runtime.
An entry that cannot be read is examined anew.
"""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from batchline import __version__
from batchline.ml.examination.report import ModelReport
from batchline.ml.runtime import Runtime
from batchline.ml.session import RUNTIME
from batchline.registry.model_file import Examine, ModelFile, Sample


def examine_once(
    file: ModelFile, sample: Sample, runtime: Runtime, examine: Examine
) -> ModelReport:
    """Return what is known of a model, and examine it if that is nothing.

    Raises:
        ConfigurationError: the model cannot be served.
    """
    entry = _folder() / f"{_key(file, sample, runtime)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return ModelReport.from_json(json.loads(entry.read_text()))
    found = examine(file, sample)
    with suppress(OSError):  # a read-only home, for example
        entry.parent.mkdir(parents=True, exist_ok=True)
        beside = entry.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found.to_json()))
        beside.replace(entry)
    return found


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "batchline" / "examined"


def _key(file: ModelFile, sample: Sample, runtime: Runtime) -> str:
    rows = "" if sample is None else sha256(sample[1]).hexdigest()
    what = (__version__, RUNTIME, repr(runtime), file.sha256, file.options, rows)
    return sha256(json.dumps(what).encode()).hexdigest()
