"""Write the reference pages from the code: commands, settings, limits, errors and metrics.

    python -m scripts.reference_pages

`make docs` runs it. `tests/test_documentation.py` compares the pages with the code.
"""

import inspect
from pathlib import Path

from pydantic import SecretStr

from batchline import access_errors, constants, errors, file_errors, request_errors  # noqa: F401
from batchline.configurations import SECRETS, Settings
from scripts import commands_page, metrics_page
from scripts.commands_page import cell

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- This page is generated from the code. Run `make docs` after a change. -->"


def pages() -> dict[Path, str]:
    """Return the text of each generated page."""
    return {
        FOLDER / "cli.md": commands_page.text(NOTE),
        FOLDER / "settings.md": settings_page(),
        FOLDER / "limits.md": limits_page(),
        FOLDER / "errors.md": errors_page(),
        FOLDER / "metrics.md": metrics_page.text(NOTE),
    }


# Settings --------------------------------------------------------------------------------------


def settings_page() -> str:
    rows = [
        f"| `{name.upper()}` | {cell(default_of(name))} | {cell(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    *first, last = [f"`{name.upper()}_FILE`" for name in SECRETS]
    files = f"{', '.join(first)} and {last}"
    return (
        "\n\n".join(
            [
                "# Settings",
                NOTE,
                "Settings are environment variables. Command-line options override them, see "
                "[Commands](cli.md). Run `batchline check` to check them.",
                f"{files} each name a file that holds the secret, as Docker and Kubernetes mount "
                "it. If both are set, the variable itself is used.",
                "\n".join(["| variable | default | |", "| --- | --- | --- |", *rows]),
            ]
        )
        + "\n"
    )


def default_of(name: str) -> str:
    """Return the default as a reader sees it."""
    special = {
        "database_url": "`sqlite:///batchline.db`",
        "source_database_url": "`DATABASE_URL`",
        "target_database_url": "`DATABASE_URL`",
        "worker_threads": "2 to 4, by CPU cores",
        "model_filepath": "the bundled iris model",
        "label_filepath": "the bundled iris labels, for the bundled model",
    }
    if name in special:
        return special[name]
    default = Settings.model_fields[name].default
    if default is None or isinstance(default, SecretStr):
        return "–"
    return f"{default:g}" if isinstance(default, float) else str(default)


# Limits ----------------------------------------------------------------------------------------

LIMITS = {
    "Requests": {
        "MAX_BODY_BYTES": "bytes of a request body, of a line, and of an item's `data` in SQL",
        "MAX_ROWS_PER_ITEM": "rows of one item",
        "MAX_KEY_LENGTH": "characters of an `Idempotency-Key`",
        "MAX_CUSTOM_IDS": "values of `custom_id` in `GET /items`",
        "MAX_CUSTOM_ID_LENGTH": "characters of a `custom_id`",
        "MAX_REPORTED_FAULTS": "validation errors that a response lists",
        "BODY_TIMEOUT": "seconds for a request body to arrive",
        "MAX_PAGE_ITEMS": "items on a page of `GET /items`",
        "MAX_PAGE_BYTES": "bytes of a page of `GET /items` with more than one item",
    },
    "Connections of one API process": {
        "MAX_HEAD_BYTES": "bytes of a request's head; beyond that, 431 `head_too_large`",
        "MAX_HEAD_FIELDS": "header fields of a request",
        "HEAD_TIMEOUT": "seconds for the head to arrive, and for a new connection to begin one",
        "MAX_CONNECTIONS": "connections; beyond that, the oldest one without a complete head is "
        "closed",
        "MAX_PIPELINED_REQUESTS": "requests that a client may send before it gets a response",
        "RESPONSES_MAX_BYTES": "bytes of larger responses that clients have not read; beyond that, "
        "the client that has read nothing for the longest time is dropped",
        "RESPONSE_TIMEOUT": "seconds until a client that reads nothing is dropped",
    },
    "Write queue and uploads of one API process": {
        "WRITE_QUEUE_MAX_ITEMS": "items waiting to be stored; beyond that, 503 `intake_full`",
        "WRITE_QUEUE_MAX_BYTES": "bytes of items waiting to be stored",
        "BODIES_MAX_BYTES": "bytes of larger request bodies being received",
        "LONG_LINES_MAX_BYTES": "bytes of long lines that uploads are sending or storing; beyond "
        "that, 503 `intake_full`",
        "MAX_UPLOADS": "uploads to `POST /items` at once",
        "UPLOAD_SLOW_AFTER": "seconds without a stored line until an upload makes room for another",
        "UPLOAD_GROUP_LINES": "lines of an upload that are stored in one transaction",
        "UPLOAD_RESPONSE_BUFFER_BYTES": "bytes of the response that the API buffers for a client "
        "that does not read",
        "UPLOAD_TIMEOUT": "seconds for the next 64 KiB of an upload or of its response",
        "UPLOAD_MAX_EXPLAINED_LINES": "rejected lines with an explanation; further lines have only "
        "a code",
        "REQUEST_TIMEOUT": "seconds that a registration waits for its COMMIT",
    },
    "Batch job": {
        "CLAIM_MAX_ITEMS": "items of one claim",
        "CLAIM_MAX_BYTES": "bytes of data of one claim",
        "CLAIM_LEASE": "seconds until a claim expires, unless its job renews it",
        "CALL_MAX_ROWS": "rows in one call of the model",
        "CALL_MAX_BYTES": "bytes of tensors in one call of the model",
        "RESULTS_MAX_BYTES": "bytes of predictions that a batch gathers before it stores them",
        "MAX_ISOLATED_CRASHES": "crashes with only this item until it is marked as failed",
        "DRAIN_TIMEOUT": "seconds that a job may go on with its batches after it is asked to stop",
    },
    "Files": {
        "FILE_BLOCK_BYTES": "bytes of a CSV or JSON Lines file that are parsed at a time",
        "FILE_BLOCK_ROWS": "rows of a file that are read at a time",
        "RECORD_MAX_BYTES": "bytes of one record of a CSV or JSON Lines file",
        "JSON_MAX_DEPTH": "levels of nested lists and objects in a line of a JSON Lines file",
        "ERROR_VALUE_MAX_CHARACTERS": "characters of an invalid value that its error shows",
    },
    "Models": {
        "MODEL_STORED_MAX_BYTES": "bytes of a model, with its external data, that the database "
        "keeps; each job reads a larger model from where it was added",
        "MODEL_RETRY_INTERVAL": "seconds until a job tries again to load a model",
        "SIGNATURE_LIFETIME": "seconds until an API process notices a new active version",
    },
}


def limits_page() -> str:
    parts = [
        "# Limits",
        NOTE,
        "These limits bound memory and time. They are constants of the code, not settings.",
    ]
    for title, limits in LIMITS.items():
        rows = [f"| {shown(getattr(constants, name))} | {what} |" for name, what in limits.items()]
        parts += [f"## {title}", "\n".join(["| limit | |", "| ---: | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def shown(value: float) -> str:
    if value >= 1024 * 1024 and value % (1024 * 1024) == 0:
        return f"{value // (1024 * 1024):.0f} MiB"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


# Errors ----------------------------------------------------------------------------------------

FAILURES = {
    "invalid_json": "`data` is not valid JSON. The item was inserted with SQL",
    "invalid_data": "The model does not accept `data`. The item was inserted with SQL, or the "
    "active version has changed since",
    "too_large": "`data` is too large",
    "model_error": "The model raised an error for a row. `detail` has its message",
    "unknown_model": "No model has the name in `model`. The item was inserted with SQL",
    "model_unavailable": "The job could not load the model. Fix the cause that `detail` names, "
    "then run `batchline retry --code model_unavailable`",
    "worker_crashed": "A worker process crashed three times while it predicted only this item",
    "timed_out": "The model took longer than `MODEL_TIMEOUT` for this item by itself",
    "prediction_not_finite": "The model returned NaN or infinity. `detail` names the output",
    "prediction_too_large": "The prediction is too large",
    "result_rejected": "The database rejected the result",
}
VALIDATION = {
    "missing": "`data` is missing",
    "unknown_field": "the request has an unknown field",
    "wrong_shape": "the value is of the wrong kind, such as a number instead of a list",
    "wrong_width": "a list has the wrong number of values",
    "no_rows": "the item has no rows",
    "too_many_rows": "the item has too many rows",
    "nested_too_deep": "the data has a list instead of a value",
    "not_a_number": "the value is not a number",
    "not_an_integer": "the value is not an integer",
    "unknown_value": "the field has a value that it cannot have",
    "not_finite": "the value is infinite",
    "out_of_range": "the number does not fit into the input's type",
    "not_a_bool": "the value is not `true` or `false`",
    "not_a_text": "the value is not a string",
    "invalid_custom_id": "`custom_id` is empty, too long, has a control character or a line "
    "separator, or begins or ends with a space",
    "missing_input": "an input or a feature of the model is missing",
    "unknown_input": "the model has no input or feature of this name",
    "wrong_row_count": "the inputs have different numbers of rows",
    "axes_differ": "dimensions with the same name have different sizes in one row",
    "invalid_parameter": "a parameter of the path or the query is invalid",
}
FILE_COLUMNS = {
    "missing_column": "a file has no column of this name",
    "repeated_column": "two columns have the same name",
    "wrong_type": "the column has a type that cannot be used or written",
}
FILE_ROWS = {
    "wrong_field_count": "a CSV row has fewer or more fields than the header",
    "repeated_header": "a CSV row is equal to the header",
    "unclosed_quote": "a quote opens a CSV cell and is never closed",
    "record_too_large": "the record is longer than 64 MiB",
    "invalid_encoding": "the row has bytes that are not in the file's encoding",
    "invalid_json": "a line of JSON Lines is not one JSON object, or is nested more than 200 "
    "levels deep",
    "repeated_key": "a JSON object has a feature twice",
    "missing_key": "a JSON object has a key that the output has no column for",
    "model_error": "the model raised an error for the row",
    "worker_crashed": "the model ended its process at the row",
    "timed_out": "the model needed longer than `MODEL_TIMEOUT` for the row by itself",
}
NEVER_OVER_HTTP = {"configuration", "claim_lost", "unavailable", "conflict", "model_unavailable"}


def errors_page() -> str:
    responses = sorted(over_http(), key=lambda error: (error.status, error.code))
    rows = [
        f"| {e.status} | `{e.code}` | {cell(title(e))} | {cell(advice(e))} |" for e in responses
    ]
    rows += [
        "| 404 | `not_found` | The address does not exist. | Use one that [HTTP](http.md) lists. |",
        "| 405 | `method_not_allowed` | The address does not have this method. | Use a method from "
        "the header `Allow`. |",
        "| 422 | `invalid_parameter` | A parameter is invalid. | `errors` points to it, as in "
        "`#/query/limit`. |",
    ]
    failures = [f"| `{code}` | {cell(what)}. |" for code, what in FAILURES.items()]
    validation = [f"| `{code}` | {what} |" for code, what in VALIDATION.items()]
    return (
        "\n\n".join(
            [
                "# Errors",
                NOTE,
                "## HTTP errors",
                "Every error is an RFC 9457 problem. `code` is stable. `detail` and `hint` are for "
                "people. A 503 has `Retry-After`, except for `predictions_late` and `job_silent`. "
                "If you registered items, its `detail` says whether they were stored.",
                "\n".join(
                    ["| status | `code` | | what to do |", "| --- | --- | --- | --- |", *rows]
                ),
                "## Failures of items",
                "A failed item has one of these codes, over HTTP in `error.code` and in "
                "SQL in `failures.code`. To retry them, run `batchline retry --code CODE`.",
                "\n".join(["| code | |", "| --- | --- |", *failures]),
                "## Validation errors",
                "Each entry of `errors` has a JSON `pointer`, a `detail` and one of these codes.",
                "\n".join(["| code | |", "| --- | --- |", *validation]),
                "## Errors of files",
                "A command that reads or writes files stops with one of these errors.",
                "\n".join(["| code | |", "| --- | --- |", *of_files()]),
                "`invalid_columns` lists the problems of all files, each with one of these codes.",
                table(FILE_COLUMNS),
                "A row that cannot be read or predicted has one of the validation errors above or "
                "one of these codes, with file, line, column and value. Other rows are not "
                "affected.",
                table(FILE_ROWS),
            ]
        )
        + "\n"
    )


def of_files() -> list[str]:
    """Return a line for each error class of files."""
    here = [each for each in all_errors() if each.__module__ == file_errors.__name__]
    found = sorted(set(here) - {file_errors.FileError}, key=lambda error: error.code)
    lines = [(error.code, f"{title(error)} {advice(error)}") for error in found]
    return [f"| `{code}` | {cell(text)} |" for code, text in lines]


def table(codes: dict[str, str]) -> str:
    rows = [f"| `{code}` | {what} |" for code, what in codes.items()]
    return "\n".join(["| code | |", "| --- | --- |", *rows])


def all_errors() -> list[type[errors.BatchlineError]]:
    found: list[type[errors.BatchlineError]] = []
    waiting = [errors.BatchlineError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


def over_http() -> list[type[errors.BatchlineError]]:
    """Return the error classes that a client can meet."""
    found = [error for error in all_errors() if error.__module__ != file_errors.__name__]
    unique = {error.code: error for error in found if error.code not in NEVER_OVER_HTTP}
    unique["internal_error"] = errors.BatchlineError
    return [error for error in unique.values() if not issubclass(error, errors.ModelFailed)]


def title(error: type[errors.BatchlineError]) -> str:
    return inspect.cleandoc(error.__doc__ or "").splitlines()[0]


def advice(error: type[errors.BatchlineError]) -> str:
    if error is errors.BatchlineError:
        return "Look for the cause in the API's log, and report the traceback."
    return " ".join(inspect.cleandoc(error.__doc__ or "").splitlines()[2:])


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
