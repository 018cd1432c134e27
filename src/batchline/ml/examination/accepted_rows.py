"""Which rows to try: made-up ones or those of the user, as far as the model accepts them."""

from collections.abc import Mapping

from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.calls import filled, to_feeds, to_feeds_of_one
from batchline.ml.examination import samples
from batchline.ml.examination.batch_dimension import BatchDimension
from batchline.ml.examination.samples import MIN_ROWS
from batchline.ml.rows import RowTensors, Tensor
from batchline.ml.session import Session
from batchline.ml.signature import Signature


def accepted_rows(
    session: Session, layout: BatchDimension, sample: tuple[str, bytes] | None, name: str
) -> RowTensors:
    """Return rows that the model accepts one by one.

    Args:
        sample: name and content of a file with rows, or None for made-up rows.
        name: the name of the model in errors.

    Raises:
        ConfigurationError: the model accepts too few rows of the sample, or it has too few.
        ModelFailed: the model accepts no made-up rows.
    """
    if sample is not None:
        return _of_sample(session, layout, sample, name)
    problem: ModelFailed | None = None
    for group in samples.made_up(layout.inputs):
        best: list[int] = []
        best_rows = group[0]
        for rows in group:
            taken, refusal = which_accepted(session, rows, layout)
            problem = refusal or problem
            if len(taken) > len(best):
                best, best_rows = taken, rows
            if 2 * len(taken) >= len(rows):
                break  # the other rows of the group tell less
        if len(best) >= MIN_ROWS:
            return best_rows[best]
    raise problem or ModelFailed("there are not enough rows to try")


def _of_sample(
    session: Session, layout: BatchDimension, sample: tuple[str, bytes], name: str
) -> RowTensors:
    file, text = sample
    rows = samples.given(text, Signature(layout.inputs), file)
    if len(rows) < MIN_ROWS:
        raise ConfigurationError(
            f"the sample file {file} must have at least {MIN_ROWS} rows of one shape, got "
            f"{len(rows)}",
            hint="write more rows of the same shape into it",
        )
    taken, refusal = which_accepted(session, rows, layout)
    if len(taken) < MIN_ROWS:
        why = "" if refusal is None else f": {refusal.detail}"
        raise ConfigurationError(
            f"{name} must accept at least {MIN_ROWS} sample rows, got {len(rows)} of which it "
            f"accepts {len(taken)}{why}",
            hint=f"write rows that it accepts into {file}",
        )
    return rows[taken]


def which_accepted(
    session: Session, rows: RowTensors, layout: BatchDimension
) -> tuple[list[int], ModelFailed | None]:
    """Return the places of the rows that the model accepts, and its error for another row."""
    taken, refusal = [], None
    for place in range(len(rows)):
        try:
            session.run(_feeds(rows[[place]], layout))
        except ModelFailed as error:
            refusal = error
        else:
            taken.append(place)
    return taken, refusal


def _feeds(row: RowTensors, layout: BatchDimension) -> Mapping[str, Tensor]:
    if not layout.axis:
        return to_feeds_of_one(row)
    return to_feeds(filled(row, layout.size), layout.inputs)
