"""Item states, limits and defaults. Times are in seconds."""

from enum import StrEnum
from pathlib import Path


class IfExists(StrEnum):
    """What happens to a table that exists."""

    FAIL = "fail"
    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"


class Status(StrEnum):
    """The status of an item. Its claim, not its status, shows that it is being predicted."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINISHED = (Status.SUCCEEDED, Status.FAILED)
"""Items whose results are for the data that they have. A client may have changed other items."""

IRIS = Path(__file__).parent / "iris"
IRIS_MODEL = IRIS / "iris.onnx"
IRIS_LABELS = IRIS / "labels.json"
IRIS_FLOWERS = IRIS / "flowers.csv"

DEFAULT_MODEL = "default"
"""The model that predicts items without a model name. `MODEL_FILEPATH` is added under this name."""

SCHEMA_REVISION = "0006"
"""The newest migration. The API compares this string instead of importing Alembic."""

SINGLE_LANE = 0
"""The lane of single registrations, and of SQL clients that name no other."""
UPLOAD_LANE = 1
"""The lane of the lines of uploads. Lower lanes are predicted first."""

BEFORE_ALL_IDS = -(2**63)
"""The start of a scan: no id is smaller. SQL clients can give an item any integer as its id."""
LARGEST_ID = 2**63 - 1
PREDICTION_TOO_LARGE = "prediction_too_large"
"""The code of a failure: the prediction is larger than an item or a statement may be."""
NO_VERSION = 0
"""The model id of a failure that happened before any version was chosen."""

MODEL_STORED_MAX_BYTES = 256 * 1024 * 1024
"""The database does not store a larger model. Each job reads its files from their location."""
MODEL_PART_BYTES = 512 * 1024
"""The database stores a model file in parts of this size."""

# Limits of one request or one SQL row.
MAX_BODY_BYTES = 8 * 1024 * 1024
SMALL_BODY_BYTES = 64 * 1024
"""The event loop checks a body up to this size itself. A thread checks a larger one."""
MAX_ROWS_PER_ITEM = 10_000
MAX_PAGE_ITEMS = 1_000
MAX_CUSTOM_IDS = 100
MAX_KEY_LENGTH = 255
MAX_CUSTOM_ID_LENGTH = 255
MAX_REPORTED_FAULTS = 20
"""A response lists this number of validation errors at most."""

BODIES_MAX_BYTES = 64 * 1024 * 1024
"""Memory for all request bodies above `SMALL_BODY_BYTES` that are being received."""
MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page of items ends early when it exceeds this size."""
EXAMPLE_MAX_VALUES = 1_000
"""A response has no example if the rows of a model have more values."""
LARGE_PREDICTION_BYTES = 16 * 1024
"""A larger prediction is read in a statement of its own."""

# Limits of the connections of one API process. Beyond them it closes connections.
MAX_CONNECTIONS = 1_000
"""At the limit, the oldest connection without a complete head makes room for a new one."""
MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_FIELDS = 100
HEAD_TIMEOUT = 10
"""Time for a head to arrive, and time after which a connection that sends nothing is closed."""
MAX_PIPELINED_REQUESTS = 10
"""Requests that a client may send before it has received a response."""
RESPONSES_MAX_BYTES = 64 * 1024 * 1024
"""Memory for all responses above `UNREAD_RESPONSE_BYTES` that clients have not read. Beyond it, the
client that has read nothing for the longest time is dropped."""
UNREAD_RESPONSE_BYTES = 64 * 1024
RESPONSE_TIMEOUT = 60
"""Time after which a client that reads nothing of its response is dropped."""
CONNECTION_CHECK_INTERVAL = 1.0
"""Interval at which connections are compared with these times. A timer for each request would cost
more."""

# Requests that the API holds in memory. Beyond these limits it responds with 503.
WRITE_QUEUE_MAX_ITEMS = 10_000
"""Items that wait for their COMMIT."""
WRITE_QUEUE_MAX_BYTES = 64 * 1024 * 1024
WRITE_QUEUE_GROUP_ITEMS = 1_000
"""Items that one transaction stores."""
WRITE_QUEUE_GROUP_BYTES = 8 * 1024 * 1024
ITEM_READER_GROUP_ITEMS = 100
"""Items that one statement reads."""
PAGE_READERS = 2
"""Threads that read pages. On SQLite, 2 read 710 pages per second and 4 read 620. On MySQL, both
read the same number."""
ITEM_READER_MAX_ITEMS = 10_000
"""Requests for one item that wait to be read."""

# Limits of uploads to POST /items.
UPLOAD_BLOCK_BYTES = 256 * 1024
"""Size of the blocks of whole lines that are parsed at a time. A longer line is its own block."""
UPLOAD_LONG_LINE_BYTES = 1024 * 1024
"""Memory of the lines of one upload that are being received and stored. Beyond it, they count
towards `LONG_LINES_MAX_BYTES`. Shorter lines never take so much."""
LONG_LINES_MAX_BYTES = 32 * 1024 * 1024
"""Memory for the long lines of all uploads that are being received and stored."""
UPLOAD_GROUP_LINES = 5_000
"""Lines that one transaction stores."""
UPLOAD_RESPONSE_BUFFER_BYTES = 4 * 1024 * 1024
"""Response kept in memory for a client that reads it only after it has sent everything."""
UPLOAD_MAX_EXPLAINED_LINES = 1_000
"""Rejected lines that are reported with their validation errors. The others have only a code."""
MAX_UPLOADS = 8
"""Uploads that one API process receives at a time."""
UPLOAD_SLOW_AFTER = 10
"""Time without a stored line after which an upload makes room for another, if there is no place."""

# Limits of one claim, which bound the memory of a worker thread.
CLAIM_FIRST_ITEMS = 256
CLAIM_MAX_ITEMS = 5_000
CLAIMS_IN_A_ROW = 3
"""Claims of a lane before a higher lane gets one. While both have items, an upload gets a quarter
of the claims. More in a row would help single requests little: they wait for a batch anyway."""
SPARSE_SHARE = 0.25
"""If fewer of a claim's ids were pending, the next claim covers a number of pending items instead
of a span of ids."""
STORE_ATTEMPTS = 5
"""Attempts to store a batch while other clients change its items. Then its claim is released."""
CLAIM_MAX_BYTES = 4 * 1024 * 1024
"""Size of the items' JSON. Parsed rows and results take several times as much memory."""
SUSPECT_PARTS = 10
"""After a crash of its job, a claim is divided into this number of claims."""
MAX_ISOLATED_CRASHES = 3
"""An item is marked as failed after this number of crashes of jobs that held no other item."""
RESULTS_MAX_BYTES = 2 * MAX_BODY_BYTES
"""A batch stores its results when they exceed this size, and releases its remaining items."""
CALL_MAX_ROWS = 1_024
"""Rows in one model call. The job can stop between two calls."""
CALL_FIRST_ROWS = 8
"""Rows in the first call of a model. Calls grow with the speed that was measured."""
CALL_GROWTH = 4
"""A call has at most this number of times the rows of the one before it."""
CALL_SECONDS = 1.0
"""Target duration of a call. It is a small part of `MODEL_TIMEOUT`."""
PROOF_SECONDS = 1.0
"""Time for the largest test batches of `models add`, which detect the batching mode."""
CALL_MAX_BYTES = 16 * 1024 * 1024
"""Size of the input and output tensors of one model call."""

FAILURE_DETAIL_MAX_CHARACTERS = 2_000


VERIFY_PAGE_ITEMS = 1_000
"""Items that `batchline verify` reads at a time."""
DIFF_PAGE_ITEMS = 5_000
"""Items that `batchline models diff` reads at a time."""
FAILURES_PAGE = 5_000
"""Failures that `batchline failures` reads at a time."""
FAILURES_READ = 100_000
"""Failures that `batchline failures` reads at most, the newest first."""
COUNTED_ITEMS = 100_000
"""Pending items that are counted. Of more, the count is a lower bound."""
COUNTED_FAILURES = 100_000
RETRY_ITEMS = 5_000
"""Items that one transaction of `batchline retry` makes pending again."""
TRACED_ITEMS = 128
"""Items of a batch that get a span, and links from the span of the batch. It is OpenTelemetry's own
default limit of links."""
LOGGED_CHARACTERS = 4_000
"""Length of a text in the log, such as the path of a request. Tracebacks are not cut."""
LOGGED_IDS = 5
"""Ids of items and of requests that a line of the log has at most."""

# Times, in seconds.
MODEL_TIMEOUT = 300.0
"""Time for one call of a model, and for loading one."""
MODEL_RETRY_INTERVAL = 30.0
"""Time until a job tries again to load a model that it could not load."""
END_CALL_TIMEOUT = 2.0
"""Time for a call of a model to end after `MODEL_TIMEOUT`. Then its process ends."""
HURRY_SHARE, HURRY_SECONDS = 0.1, 1.0
"""The share of `MODEL_TIMEOUT`, and the time at least, after which a suspect item is put off until
the other suspects have been predicted."""
CLAIM_LEASE = 60.0
"""Time until a claim expires."""
CLAIM_RENEWAL = 15.0
"""Interval at which a job renews its claims."""
HEARTBEAT_INTERVAL = 1.0
"""Least time between two reports of a job process about its state."""
IDLE_REPORT_INTERVAL = 5.0
"""Least time between two reports of a job process that finds nothing to do."""
SILENCE_LIMIT = 300.0
"""Time after which a worker process that shows no life counts as hanging. Its reports may wait for
`STATEMENT_TIMEOUT` and longer, if the database does not answer."""
HEARTBEAT_LIFETIME = 60.0
"""Time after which a job process that reports nothing counts as dead."""
INSIGHTS_LIFETIME = 3.0
"""Time for which all who ask how the service is doing get the same answer."""
METRICS_DATABASE_WAIT = 1.0
"""Time for which a scrape waits for the metrics of the database."""
BATCH_SECONDS = 1.0
"""Target duration of a batch. Batches of a slow model get fewer items."""
BATCH_LONGEST = 5.0
"""Time after which a batch stores its results and releases its remaining items, as the first batch
of a slow model does."""
SUSPECTS_INTERVAL = 0.5
"""Interval at which a run looks for suspect items."""
WAIT_FOR_OTHER_JOBS = 0.25
"""Interval at which `job --once` looks for items that other jobs have released."""
CONNECT_TIMEOUT = 3
CONNECTION_MAX_AGE = 60
"""Age at which a connection to a server is replaced. So the reads of a process that never writes
leave a server that is no longer the primary."""
IDLE_TEST_AFTER = 1.0
"""Time without use after which a connection to a database is tested before it is used again."""
KEEPALIVE_IDLE = 10
"""Time without packets after which the system asks whether the other end is still there. It also
keeps firewalls from forgetting the connection."""
KEEPALIVE_INTERVAL = 5
KEEPALIVE_COUNT = 3
"""Questions without a reply after which the connection ends."""
UNACKNOWLEDGED_TIMEOUT = 30
"""Time that packets may stay unacknowledged before the connection ends."""
REQUEST_TIMEOUT = 10
"""Time that a registration waits for its COMMIT before it gets a 503."""
REQUEST_TIMEOUT_INTERVAL = 0.5
"""Interval at which waiting requests are compared with `REQUEST_TIMEOUT`."""
BODY_TIMEOUT = 60
"""Time for a request body to arrive."""
UPLOAD_TIMEOUT = 60
"""Time for the next `UPLOAD_PROGRESS_BYTES` of an upload or of its response."""
UPLOAD_PROGRESS_BYTES = 64 * 1024
API_STATEMENT_TIMEOUT = 5
"""Time for one statement of the API. After a timeout, the database counts as unavailable."""
OUTAGE_PROBE_INTERVAL = 0.25
"""Interval at which the API checks whether an unavailable database responds again."""
STATEMENT_TIMEOUT = 120
"""Time for one statement of a job or a command."""
COMMAND_STATEMENT_TIMEOUT = 8
"""The shorter time for a command with quick statements only, such as `models list`."""
IDLE_TIMEOUT = 30
"""Time after which the server ends an idle transaction. It is shorter than `CLAIM_LEASE`."""
MIGRATION_TIMEOUT = 600
"""Time to wait for another migration."""
TABLE_LOCK_INTERVAL = 0.5
"""Interval at which a migration that cannot get a table for itself tries again."""
TABLE_LOCK_WAIT = 2
"""Time that a migration may keep the writers of a table waiting. It is shorter than
`API_STATEMENT_TIMEOUT`."""
POOL_TIMEOUT = 3
"""Time to wait for a pooled connection."""
SQLITE_BUSY_TIMEOUT = 5.0
SQLITE_QUICK_WAIT = 0.2
"""Time during which SQLite's write lock is polled every `SQLITE_POLL_INTERVAL` seconds. After that,
SQLite polls it at longer intervals."""
SQLITE_WRITE_QUEUE_WAIT = 0.2
"""Time that a process waits in the SQLite write queue before it writes without its lock."""
SQLITE_POLL_INTERVAL = 0.001
OUTAGE_FIRST_PAUSE = 0.5
"""Time that a job waits for an unavailable database. It doubles with each attempt, with jitter."""
OUTAGE_LONGEST_PAUSE = 30.0
FAILOVER_PAUSE = 5.0
"""The longest of these waits of a job that runs all the time."""
OUTAGE_ATTEMPTS = 8
"""Attempts of `batchline job --once` before it exits with an error, after about a minute."""
FAILURE_LOG_INTERVAL = 60.0
"""Time in which the API logs requests that fail in the same way together."""
TRACES_TIMEOUT = 3.0
"""Time for a process that ends to send its last spans."""
START_PAUSE = 0.5
"""Time until a command that waits for the database at its start tries again."""
DRAIN_TIMEOUT = 15.0
"""Time for a job that was asked to stop to finish its batches in progress."""
RELEASE_TIMEOUT = 3.0
"""Time for the job to release the claims of unfinished batches after `DRAIN_TIMEOUT`."""
REJECTION_MEMORY = 30.0
"""Time for which an API process is not ready after the database has rejected what it stored."""
SIGNATURE_LIFETIME = 2.0
"""Time for which an API process uses the signatures that it has read."""
UNKNOWN_MODEL_LIFETIME = 0.25
"""The shorter time for a request with an unknown model, which may have been added since."""
KEYS_READ_INTERVAL = 2.0
"""Time after which an API process reads the API keys again, while it uses the ones it has."""
KEYS_LIFETIME = 4.0
"""Time after which a request waits for the API keys to be read. So a revoked key stops working
within five seconds."""
KEYS_LIFETIME_IN_OUTAGES = 300.0
"""Time for which known API keys stay valid while the database is unavailable."""
UNKNOWN_KEY_INTERVAL = 1.0
"""Shortest time between two reads that requests with an unknown key cause."""
USAGE_INTERVAL = 1.0
"""Interval at which an API process saves the items that API keys have registered, and learns what
other processes have counted."""
KEY_USED_INTERVAL = 60.0
"""Interval at which an API process saves that an API key is in use."""
API_SWITCH_INTERVAL = 0.001
"""Time after which a thread that checks an upload's lines lets another thread run. A registration
waits for several such switches, and Python's default of 0.005 adds up."""
API_SHUTDOWN_TIMEOUT = 10
"""Time for the API to finish requests in progress after it was asked to stop."""

# Limits of files.
FILE_BLOCK_BYTES = 2 * 1024 * 1024
"""Text that is parsed at a time. A longer record is its own block."""
FILE_BLOCK_MIN_BYTES = 64 * 1024
"""Text that is parsed at a time if the file is small."""
FILE_MIN_BLOCKS = 16
"""Blocks of a small file, so that a slow model keeps all threads busy until the end."""
FILE_BLOCK_ROWS = 32_768
"""Rows that are read at a time. Each may have an error, which takes half a kilobyte."""
PARQUET_BLOCK_BYTES = 16 * 1024 * 1024
"""Size of such a block, if its rows are large."""
PARQUET_GROUP_ROWS = 262_144
"""Rows of a row group that is written."""
PARQUET_GROUP_BYTES = 32 * 1024 * 1024
"""Size of a row group that is written, if its rows are large."""
FOLDER_FILE_BYTES = 256 * 1024 * 1024
"""Size at which the next file of an output folder is begun."""
SQL_CHUNK_FIRST_ROWS = 256
SQL_CHUNK_ROWS = 8_192
"""Rows of a query that are read and predicted together."""
SQL_CHUNK_BYTES = 8 * 1024 * 1024
"""Size of such rows, if they are large."""
SQL_TRANSACTION_ROWS = 5_000
"""Rows that one transaction of `predict --into` writes."""
RECORD_MAX_BYTES = 64 * 1024 * 1024
"""A longer record of a text file cannot be read. It is an error of its row."""
JSON_MAX_DEPTH = 200
"""Levels of a JSON line. Each takes up to two calls of Python's, of which 1,000 may be nested."""
ERROR_VALUE_MAX_CHARACTERS = 100
"""The error of a row shows this much of an invalid value."""
