"""Item states, limits and defaults, each with its unit."""

from enum import StrEnum
from pathlib import Path


class Status(StrEnum):
    """What has become of an item. That it is in work right now is a fact about its claim."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


IRIS = Path(__file__).parent / "iris"
IRIS_MODEL = IRIS / "iris.onnx"
IRIS_LABELS = IRIS / "labels.json"
IRIS_FLOWERS = IRIS / "flowers.csv"

DEFAULT_MODEL = "default"
"""The name under which `MODEL_FILEPATH` is published; each new file is a new version of it."""

SCHEMA_REVISION = "0003"
"""The newest migration, written down here so that the API need not import Alembic to compare."""

BEFORE_ALL_IDS = -(2**63)
NO_VERSION = 0
"""The model id of failures that no version is to blame for."""

MODEL_STORED_MAX_BYTES = 256 * 1024 * 1024
"""Larger model files are not stored in the database; every job has to reach them by themselves."""
MODEL_PART_BYTES = 512 * 1024

# What one request or one SQL row may bring.
MAX_BODY_BYTES = 8 * 1024 * 1024
SMALL_BODY_BYTES = 64 * 1024
"""Up to this size a body is checked between two other requests; a larger one in a thread."""
MAX_ROWS_PER_ITEM = 10_000
MAX_PAGE_ITEMS = 1_000
MAX_KEY_LENGTH = 255
MAX_REPORTED_FAULTS = 20

BODIES_MAX_BYTES = 64 * 1024 * 1024
"""What bodies larger than `SMALL_BODY_BYTES` may take in memory all together while they arrive."""
MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page of items ends early where its predictions are larger than this."""
LARGE_PREDICTION_BYTES = 16 * 1024

# What the API holds in memory until it is committed; beyond that it answers 503.
INTAKE_MAX_ITEMS = 10_000
INTAKE_MAX_BYTES = 64 * 1024 * 1024
INTAKE_GROUP_ITEMS = 1_000
INTAKE_GROUP_BYTES = 8 * 1024 * 1024
LOOKUP_GROUP_ITEMS = 100
"""Items that are read together; large predictions are not."""
PAGE_READERS = 2
"""Threads that read pages: 2 read 710 a second from SQLite, 4 read 620; from MySQL as many."""
LOOKUPS_MAX_ITEMS = 10_000

# What one upload to POST /items holds in memory, and how many there may be at once.
BULK_BLOCK_BYTES = 256 * 1024
"""The body is taken apart in blocks of whole lines of this size, or of one line that is larger."""
BULK_GROUP_LINES = 5_000
"""Lines in one transaction."""
BULK_ANSWER_BYTES = 4 * 1024 * 1024
"""What may wait for a client that does not read its answer before it has sent everything."""
BULK_TOLD_REFUSALS = 1_000
"""So many refused lines of a body are told with what is wrong; the others only with their code."""
BULK_UPLOADS = 4

# What one claim of the batch job may cover, and so what one worker thread holds in memory.
CLAIM_FIRST_ITEMS = 256
CLAIM_MAX_ITEMS = 5_000
STORE_ATTEMPTS = 5
"""How often a batch is stored when other clients change its items, before its claim is released."""
CLAIM_MAX_BYTES = 4 * 1024 * 1024
"""As numbers in Python, and results in dictionaries, JSON takes many times its size."""
SUSPECT_PARTS = 10
"""Into how many parts a claim is divided whose job died; ten times fewer items at each death."""
MAX_DEATHS_ALONE = 3
"""After so many deaths of a job that had nothing else in hand, a row is set aside as failed."""
RESULTS_MAX_BYTES = 2 * MAX_BODY_BYTES
"""Results that one batch gathers before it stores them and leaves the rest to the next."""
CALL_MAX_ROWS = 1_024
"""Rows in one call of the model; between two calls the job looks whether it should stop."""
PROOF_SECONDS = 1.0
"""How long the largest batches may take by which it is proven that a model can be batched."""
CALL_MAX_BYTES = 16 * 1024 * 1024
"""What one call may take in and give; the batch's results are as many bytes again, as text."""

DIFF_PAGE_ITEMS = 5_000
"""Items that `batchline models diff` reads at a time."""
RETRY_ITEMS = 5_000
"""Failed items that one transaction of `batchline retry` puts back."""

# Seconds.
MODEL_RETRY_INTERVAL = 30.0
"""After which a job tries to load a model again that it could not load."""
CLAIM_LEASE = 60.0
CLAIM_RENEWAL = 15.0
BATCH_SECONDS = 1.0
"""How long a batch shall take: that of a slow model has fewer items."""
WAIT_FOR_OTHER_JOBS = 0.25
CONNECT_TIMEOUT = 3
REQUEST_TIMEOUT = 10
"""How long a registration waits for its COMMIT before it is answered 503."""
PATIENCE_INTERVAL = 0.5
"""How often it is looked whether one has waited for so long."""
BODY_TIMEOUT = 60
"""How long a body may take to arrive."""
BULK_TIMEOUT = 60
"""How long the next `BULK_PROGRESS_BYTES` of an upload, or of its answer, may take."""
BULK_PROGRESS_BYTES = 64 * 1024
API_STATEMENT_TIMEOUT = 5
"""How long the API waits for one statement before it takes the database for away."""
OUTAGE_PROBE_INTERVAL = 0.25
"""While it is away, how long the API waits before it asks for it again."""
STATEMENT_TIMEOUT = 120
"""How long a job or a migration waits for one statement."""
IDLE_TIMEOUT = 30
"""How long a transaction may stand still before the server ends it; less than a claim's lease."""
MIGRATION_TIMEOUT = 600
POOL_TIMEOUT = 3
SQLITE_BUSY_TIMEOUT = 5.0
SQLITE_QUICK_WAIT = 0.2
TURNSTILE_PATIENCE = 0.2
"""How long one process lets another be the next to write to a SQLite file."""
TURNSTILE_INTERVAL = 0.001
OUTAGE_FIRST_PAUSE = 0.5
"""How long the batch job waits for a database that went away; twice as long the next time, and so
on, with a random part."""
OUTAGE_LONGEST_PAUSE = 30.0
OUTAGE_ATTEMPTS = 8
"""So often `batchline job --once` tries before it ends with an error: for about a minute."""
DRAIN_TIMEOUT = 15.0
"""How long a job that was asked to stop goes on with the batches that it has in hand."""
ABANDON_TIMEOUT = 3.0
"""How long it then takes at most to give their claims back."""
SIGNATURE_LIFETIME = 2.0
UNKNOWN_MODEL_LIFETIME = 0.25
"""The same where a request names a model that is not known: it may have been added just now."""
API_SWITCH_INTERVAL = 0.001
"""After which a thread that checks lines lets the others go on; Python's own 0.005 adds up, as a
registration beside an upload has to be let through several times."""
API_SHUTDOWN_TIMEOUT = 10
