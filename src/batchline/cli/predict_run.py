"""What a run of `predict` is asked for, whatever its input and its output are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.files.kinds import Kind
    from batchline.files.options import ReadOptions, WriteOptions
    from batchline.scoring.columns import Added
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.summary import ErrorLimit


@dataclass(frozen=True)
class Run:
    """What files, queries and tables have in common.

    Args:
        sources, output: paths, or nothing on a side with SQL.
        keep: the columns of the input for the output. None: all.
        limit: how many rows may have errors.
    """

    settings: "Settings"
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
