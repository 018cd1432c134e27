"""The errors that Batchline can name.

Each class has a stable `code` and an HTTP status. The first line of its docstring is the title that
users see, and the rest says what to do. The client can fix errors below 500. The operator can fix
the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """A validation error: a JSON pointer into the request, a code and a sentence."""

    pointer: str
    code: str
    detail: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as a member of `errors`. The hint is that of the whole problem."""
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item or a row has no prediction.

    Args:
        cause: for the log only.
    """

    code: str
    detail: str
    cause: str = ""


class BatchlineError(Exception):
    """Something went wrong inside Batchline."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retry_after: ClassVar[int | None] = None
    advice: ClassVar[str] = "look for the cause in the API's log"
    """The hint for clients if the status is 500 or above. Then `hint` is for the operator only."""

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.faults = tuple(faults)
        self.headers = dict(headers or {})  # of the response

    @property
    def title(self) -> str:
        return (type(self).__doc__ or self.code).splitlines()[0].rstrip(".")

    @property
    def public_hint(self) -> str:
        """Return the hint that a client may see."""
        return self.hint if self.status < 500 else self.advice


class ConfigurationError(BatchlineError):
    """The configuration is invalid.

    Follow the hint, then run `batchline check`.
    """

    code = "configuration"


class ForeignTables(ConfigurationError):
    """Another program created tables with the names that Batchline uses.

    Give Batchline a database or a schema of its own.
    """


class TablesMissing(ConfigurationError):
    """The database lacks tables that a migration created.

    Restore a backup into an empty database.
    """


class ItemNotFound(BatchlineError):
    """No item has this id.

    Use an id that `POST /predict` returned. With `?version=`, the item may exist without a result
    by that version.
    """

    code = "item_not_found"
    status = 404


class UnknownCursor(BatchlineError):
    """The item of `after` does not exist.

    In the order of time, a page can follow only an item that exists. Start with the first page.
    """

    code = "unknown_cursor"
    status = 422


class ItemTooLarge(BatchlineError):
    """The item is too large for the database server.

    Send its rows in several requests or lines, or raise `max_allowed_packet` on the server.
    """

    code = "item_too_large"
    status = 413


class InvalidData(BatchlineError):
    """The data is invalid for the model.

    `errors` points to the first 20 invalid values. `GET /models/{name}` shows valid data.
    """

    code = "invalid_data"
    status = 422


class Unavailable(BatchlineError):
    """The service cannot do this at the moment.

    Send the request again after `Retry-After` seconds.
    """

    code = "unavailable"
    status = 503
    retry_after = 5
    outcome: ClassVar[str] = "Nothing was stored"
    advice: ClassVar[str] = "send the request again in a moment"


class DatabaseUnavailable(Unavailable):
    """The database does not respond.

    Send the request again. To find the cause, run `batchline check`.
    """

    code = "database_unavailable"


class CommitUnknown(DatabaseUnavailable):
    """The database did not confirm the COMMIT.

    The request may have been stored. Send it again with the same `Idempotency-Key`.
    """

    code = "commit_unknown"
    outcome = "The request may have been stored"
    advice = "send the request again with the same Idempotency-Key to avoid a duplicate"


class Conflict(BatchlineError):
    """Another transaction has already stored a row with the same unique key."""

    code = "conflict"


class StatementFailed(BatchlineError):
    """The database rejected a statement."""


class ValueRejected(StatementFailed):
    """The database rejected a value."""


class SchemaOutdated(Unavailable):
    """The database schema is older than this Batchline needs.

    Run `batchline db upgrade`.
    """

    code = "schema_outdated"
    advice = "run `batchline db upgrade`"


class SequenceBehind(SchemaOutdated):
    """The ids that the database would assign are taken.

    Run `batchline db upgrade`. A client has inserted rows with ids of its own.
    """

    code = "sequence_behind"


class SchemaNewer(SchemaOutdated):
    """The database schema is too new for this Batchline.

    Upgrade Batchline.
    """

    code = "schema_newer"
    advice = "upgrade Batchline: run `git pull && make install`"


class IntakeFull(Unavailable):
    """The write queue is full.

    Send the request again in a moment. Too many items are waiting to be stored, or too many uploads
    are running.
    """

    code = "intake_full"
    retry_after = 1


class JobSilent(BatchlineError):
    """The batch job hangs.

    Restart it. Its items are predicted by the next job.
    """

    code = "job_silent"
    status = 503
    advice = "restart the job"


class PredictionsLate(BatchlineError):
    """Predictions are late, or the runs of the batch job fail.

    Run `batchline status` to see what is pending and which jobs are alive.
    """

    code = "predictions_late"
    status = 503
    advice = "run `batchline status`"


class ShuttingDown(Unavailable):
    """The service is stopping.

    Send the request again. After an upload, send only the lines that were not stored.
    """

    code = "shutting_down"


class Overloaded(Unavailable):
    """Too many requests are waiting for a response.

    Send the request again in a moment.
    """

    code = "overloaded"
    retry_after = 1


class NoModel(Unavailable):
    """No model has been added.

    Run `batchline models add default FILE`, or start `batchline job`, which adds the bundled model.
    """

    code = "no_model"
    advice = "run `batchline models add default FILE`"


class ModelUnavailable(BatchlineError):
    """The model cannot be loaded.

    Fix the cause, then run `batchline retry --code model_unavailable`.
    """

    code = "model_unavailable"


class UnknownModel(BatchlineError):
    """No model has this name.

    Use a name that `GET /models` returns.
    """

    code = "unknown_model"
    status = 404


class UnknownVersion(BatchlineError):
    """The model has no such version.

    Use a version that `batchline models list` prints.
    """

    code = "unknown_version"
    status = 404


class ClaimLost(BatchlineError):
    """The claim expired, and another job claimed its items."""

    code = "claim_lost"


class ModelFailed(BatchlineError):
    """The model raised an error."""

    code = "model_error"


class WorkerCrashed(ModelFailed):
    """The model ended its process at a row.

    Correct the row or the model, then predict the row again with `--only-errors`.
    """

    code = "worker_crashed"


class TimedOut(ModelFailed):
    """A call of the model with a single row took longer than `MODEL_TIMEOUT`.

    Correct the row or the model, or raise `MODEL_TIMEOUT`.
    """

    code = "timed_out"
