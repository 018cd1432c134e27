"""The output of a run with its journal, and what must be the same if the run is continued."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256

import pyarrow as pa

from batchline import __version__
from batchline.file_errors import InvalidColumns, TooManyErrors
from batchline.files import open_sink
from batchline.files.folder import FolderSink
from batchline.files.options import ReadOptions, WriteOptions
from batchline.files.outputs import check_place, work_folder
from batchline.files.sink import Sink
from batchline.scoring.columns import MODEL, Added, kinds_of
from batchline.scoring.journal import Journal, opened
from batchline.scoring.model import ScoringModel

DIGITS = 12


def facts_of(
    model: ScoringModel, added: Added, kept: pa.Schema, reading: ReadOptions, writing: WriteOptions
) -> dict[str, str]:
    """Return everything but the input on which the bytes of an output depend: name → value."""
    predictor = model.predictor
    treatment = repr((predictor.signature, predictor.batching, predictor.allow_non_finite))
    return {
        "the model": model.sha256,
        "how the model is used": sha256(treatment.encode()).hexdigest()[:DIGITS],
        "columns of the model": _listed(kinds_of(predictor.signature)),
        "columns of the output": _listed({each.name: each.type for each in [*kept, *added.schema]}),
        "name of the model": f"{model.name} {model.version}" if MODEL in added.extra else "",
        "how the input is read": repr(reading),
        "how the output is written": repr(writing),
        "version of Batchline": __version__,
    }


def _listed(columns: Mapping[str, object]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items())


@contextmanager
def open_output(
    path: str,
    kept: pa.Schema,
    new: pa.Schema,
    options: WriteOptions,
    facts: Mapping[str, str],
    *,
    resume: bool,
) -> Iterator[tuple[Sink | FolderSink, Journal | None]]:
    """Open an output, and the journal with which it can be continued if it is on this machine.

    Args:
        resume: whether to continue what an earlier process left.

    Raises:
        RunChanged: with other facts.
        NotWritten: another process writes this output, for example.
    """
    check_place(path)
    with opened(work_folder(path), facts, resume=resume) as journal:
        work = journal.work if journal else None
        with open_sink(path, kept, new, options, work, replaces=resume) as sink:
            try:
                yield sink, journal
            except (TooManyErrors, InvalidColumns):
                sink.discard()
                raise
