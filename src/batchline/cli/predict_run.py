"""The request for a run of `predict`: the part that files, queries and tables share."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchline.cli.runtime import runtime_of

if TYPE_CHECKING:
    from batchline.cli.predict_ask import RunSettings
    from batchline.configurations import Settings
    from batchline.files.kinds import Kind
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.scoring.columns import Added
    from batchline.scoring.error_limit import ErrorLimit
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.scorer import Scorer


@dataclass(frozen=True)
class Run:
    """The request for a run, without what only files or only SQL need.

    Args:
        sources, output: paths, or nothing on a side with SQL.
        keep: the columns of the input for the output. None: all.
        limit: how many rows may have errors.
    """

    settings: "Settings | RunSettings"
    sources: list[str]
    output: str | None
    model: "ScoringModel"
    added: "Added"
    reading: "ReadOptions"
    writing: "WriteOptions"
    keep: list[str] | None
    limit: "ErrorLimit"
    as_json: bool

    @property
    def kinds(self) -> "dict[str, Kind]":
        """The columns that the model reads, with their types."""
        from batchline.scoring.columns import kinds_of

        return kinds_of(self.model.predictor.signature)

    @contextmanager
    def isolated_scorer(self) -> "Iterator[Scorer]":
        """A scorer with processes that call the model, so that a row can end them alone."""
        from batchline.scoring.model_process import IsolatedPredictor, ModelCopy, ModelProcesses
        from batchline.scoring.scorer import Scorer

        model, own = self.model, self.model.predictor
        copy = ModelCopy(
            model.content, model.sha256, own.signature, own.batching, runtime_of(self.settings)
        )
        with closing(ModelProcesses(copy, self.settings.model_timeout)) as processes:
            predictor = IsolatedPredictor.of(own, processes)
            yield Scorer(predictor, self.kinds, self.added, model.name, model.version)
