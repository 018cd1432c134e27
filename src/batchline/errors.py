"""The errors that Batchline can name.

Each class knows its stable `code`, its HTTP status and a title (the first line of its docstring).
Below 500 the caller can mend it, from 500 on the operator can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request: where (a JSON pointer), what kind, and in words."""

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item or a row has no prediction."""

    code: str
    detail: str


class BatchlineError(Exception):
    """Something went wrong inside Batchline."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retry_after: ClassVar[int | None] = None

    def __init__(self, detail: str, *, hint: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.faults = tuple(faults)

    @property
    def title(self) -> str:
        return (type(self).__doc__ or self.code).splitlines()[0].rstrip(".")


class ConfigurationError(BatchlineError):
    """The configuration cannot work."""

    code = "configuration"


class InvalidJson(BatchlineError):
    """The body is not JSON."""

    code = "invalid_json"
    status = 400


class ItemNotFound(BatchlineError):
    """No item has this id."""

    code = "item_not_found"
    status = 404


class BodyTooLarge(BatchlineError):
    """The body is too large."""

    code = "body_too_large"
    status = 413


class LineTooLarge(BatchlineError):
    """The line is too large."""

    code = "line_too_large"
    status = 413


class BodyTimeout(BatchlineError):
    """The body took too long to arrive."""

    code = "body_timeout"
    status = 408


class InvalidData(BatchlineError):
    """The model cannot take this data."""

    code = "invalid_data"
    status = 422


class InvalidIdempotencyKey(BatchlineError):
    """The Idempotency-Key cannot be used."""

    code = "invalid_idempotency_key"
    status = 400


class IdempotencyKeyReused(BatchlineError):
    """This Idempotency-Key belongs to another request."""

    code = "idempotency_key_reused"
    status = 422


class Unavailable(BatchlineError):
    """The service cannot do this at the moment."""

    code = "unavailable"
    status = 503
    retry_after = 5
    outcome: ClassVar[str] = "Nothing was stored"
    advice: ClassVar[str] = "send the request again"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class CommitUnknown(DatabaseUnavailable):
    """The database went away before it confirmed the COMMIT."""

    code = "commit_unknown"
    outcome = "The request may have been stored"
    advice = "send it again with the same Idempotency-Key, which avoids a duplicate"


class Conflict(BatchlineError):
    """Another transaction stored a row with the same unique key first."""

    code = "conflict"


class StatementFailed(BatchlineError):
    """The database rejected a statement."""


class SchemaOutdated(Unavailable):
    """The database schema is older than this Batchline needs."""

    code = "schema_outdated"


class SchemaNewer(SchemaOutdated):
    """The database schema is too new for this Batchline."""

    code = "schema_newer"


class ForeignTables(ConfigurationError):
    """The database has tables with our names that Batchline did not create."""


class IntakeFull(Unavailable):
    """Too many registrations are waiting to be stored."""

    code = "intake_full"
    retry_after = 1


class ShuttingDown(Unavailable):
    """The service is being stopped."""

    code = "shutting_down"


class Overloaded(Unavailable):
    """Too many requests are waiting to be answered."""

    code = "overloaded"
    retry_after = 1


class NoModel(Unavailable):
    """No model has been published yet."""

    code = "no_model"


class ModelUnavailable(BatchlineError):
    """The model cannot be loaded."""

    code = "model_unavailable"


class UnknownModel(BatchlineError):
    """No model has this name."""

    code = "unknown_model"
    status = 404


class UnknownVersion(BatchlineError):
    """The model has no such version."""

    code = "unknown_version"
    status = 404


class ClaimLost(BatchlineError):
    """The claim ran out and its items went to another job."""

    code = "claim_lost"


class ModelFailed(BatchlineError):
    """The model raised an error."""

    code = "model_error"
