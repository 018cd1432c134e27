"""A model file with the options that a user chose for it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from batchline import redaction
from batchline.constants import MODEL_STORED_MAX_BYTES
from batchline.ml.content import ModelContent
from batchline.ml.examination.label_file import read_labels
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.runtime import Runtime
from batchline.ml.signature import SIGNATURE_FORMAT
from batchline.registry.files import read_content
from batchline.registry.mlflow import is_mlflow, read_mlflow

Sample = tuple[str, bytes] | None
"""The name and the content of a file with rows to try a model with."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as a user gives it, with its options."""

    location: str
    content: ModelContent
    choices: Choices = field(default_factory=Choices)

    @classmethod
    def read(
        cls, location: str, labels: Path | None = None, choices: Choices | None = None
    ) -> "ModelFile":
        """Read the model file, by path or URL, the files that it names, and its label file.

        `location` may also be the folder of an MLflow model, or its file `MLmodel`.

        Raises:
            ConfigurationError: one of the files cannot be read.
        """
        choices = choices or Choices()
        if labels is not None:
            choices = replace(choices, labels=read_labels(labels))
        if is_mlflow(location):
            packaged = read_mlflow(location)
            location, choices = packaged.location, replace(choices, columns=packaged.columns)
        return cls(location, read_content(location), choices)

    @property
    def sha256(self) -> str:
        return self.content.sha256

    @property
    def is_stored(self) -> bool:
        """Whether the database keeps the content. Otherwise jobs read it from `location`."""
        return self.content.size <= MODEL_STORED_MAX_BYTES

    @property
    def options(self) -> str:
        """Everything beside the file that changes its predictions, as JSON with sorted keys."""
        return options_text(self.choices)

    def examine(self, sample: Sample, runtime: Runtime | None) -> ModelReport:
        """Find out the signature and the batching mode of the model.

        Raises:
            ConfigurationError: the model cannot be served.
        """
        from batchline.ml.examination.examine import examine  # a model is examined once

        name = f"the model file {redaction.location(self.location)}"
        return examine(self.content, name, self.choices, sample=sample, runtime=runtime)


Examine = Callable[[ModelFile, Sample], ModelReport]
"""Does what `ModelFile.examine` does, here or in another process."""


def options_text(choices: Choices) -> str:
    """Return what a user chose as JSON, with the format of the signature that comes of it."""
    given = {name: value for name, value in asdict(choices).items() if value}
    return json.dumps(given | {"format": SIGNATURE_FORMAT}, sort_keys=True)


def read_choices(options: str | None) -> Choices:
    """Return what a user chose, from the options of a version."""
    stored = json.loads(options or "{}")
    names = {each.name for each in fields(Choices)}
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return Choices(**{name: value for name, value in (stored | lists).items() if name in names})
