"""The metrics for Prometheus. Their names and labels are a contract.

`batchline.exposition` writes them in Prometheus's format.
"""

from batchline.metrics.kinds import Counter, Gauge, Histogram, own, write_to
from batchline.metrics.numbers import Numbers

UNKNOWN_MODEL = "(unknown)"
"""The label of items without a known model. No model can have this name."""

FAILURE_CODES = (
    "invalid_data",
    "invalid_json",
    "model_error",
    "model_unavailable",
    "prediction_not_finite",
    "prediction_too_large",
    "result_rejected",
    "timed_out",
    "too_large",
    "unknown_model",
    "worker_crashed",
)

# Of the database, which is asked at most once in a few seconds.
ITEMS_PENDING = Gauge(
    "batchline_items_pending", "Items that wait for their prediction.", ("model",)
)
OLDEST_PENDING_AGE = Gauge(
    "batchline_oldest_pending_age_seconds",
    "Seconds that the oldest pending item has waited, or 0.",
    ("model",),
)
LATE = Gauge("batchline_late", "1 if the state is late or failing, otherwise 0.")
JOBS_ALIVE = Gauge("batchline_jobs_alive", "Job processes that are alive.")
OF_DATABASE = (ITEMS_PENDING, OLDEST_PENDING_AGE, LATE, JOBS_ALIVE)

# Of the API and of the batch job.
BUILD_INFO = Gauge("batchline_build_info", "1, with the version of Batchline.", ("version",))
DATABASE_ERRORS = Counter(
    "batchline_database_errors_total",
    "Connections and statements that failed, except conflicts, which are tried again.",
)

# Of the API.
REGISTRATION_SECONDS = Histogram(
    "batchline_registration_seconds",
    "Seconds to check and store an item of POST /predict, once its body has arrived.",
)
REJECTIONS = Counter(
    "batchline_rejections_total",
    "Requests and lines of uploads that got an error. Of probes and scrapes, errors from 500 on are"
    " left out.",
    ("code",),
)
OF_API = (DATABASE_ERRORS, REGISTRATION_SECONDS, REJECTIONS)

# Of the batch job.
SUCCEEDED, FAILED = OUTCOMES = ("succeeded", "failed")
ITEMS = Counter(
    "batchline_items_total",
    "Items with a stored prediction (succeeded) or failure (failed).",
    ("model", "outcome"),
)
FAILURES = Counter(
    "batchline_failures_total", "Items with a stored failure.", ("code",), known=FAILURE_CODES
)
ROWS_PREDICTED = Counter("batchline_rows_predicted_total", "Rows that were predicted.", ("model",))
MODEL_CALL_SECONDS = Histogram("batchline_model_call_seconds", "Seconds of one call of a model.")
CLAIM_SECONDS = Histogram(
    "batchline_claim_seconds", "Seconds to look for items and claim them, also if there are none."
)
STORE_SECONDS = Histogram("batchline_store_seconds", "Seconds to store the results of a claim.")
OF_JOB = (
    DATABASE_ERRORS,
    ITEMS,
    FAILURES,
    ROWS_PREDICTED,
    MODEL_CALL_SECONDS,
    CLAIM_SECONDS,
    STORE_SECONDS,
)

__all__ = ["Counter", "Gauge", "Histogram", "Numbers", "own", "write_to"]
