"""A run of `predict`: the part that files, queries and tables share."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchline.cli.predict_ask import Ask
from batchline.cli.runtime import runtime_of

if TYPE_CHECKING:
    from batchline.files.kinds import Kind
    from batchline.scoring.columns import Added
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.scorer import Scorer


@dataclass(frozen=True)
class Run:
    """A request, and the model that was loaded for it."""

    ask: Ask
    model: "ScoringModel"
    added: "Added"

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
            model.content, model.sha256, own.signature, own.batching, runtime_of(self.ask.settings)
        )
        with closing(ModelProcesses(copy, self.ask.settings.model_timeout)) as processes:
            predictor = IsolatedPredictor.of(own, processes)
            yield Scorer(predictor, self.kinds, self.added, model.name, model.version)
