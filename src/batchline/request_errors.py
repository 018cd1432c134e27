"""The errors of requests that break the rules of HTTP, of the body, or of a limit."""

from batchline.errors import BatchlineError


class InvalidJson(BatchlineError):
    """The body is not valid JSON.

    Send `{"data": [[…], …]}`.
    """

    code = "invalid_json"
    status = 400


class UnsupportedFilters(BatchlineError):
    """These filters cannot be combined.

    Use `status`, `model`, `custom_id`, `code`, or `created_after` and `created_before`.
    """

    code = "unsupported_filters"
    status = 422


class BodyTooLarge(BatchlineError):
    """The body is too large.

    Send the rows in several requests, or as lines to `POST /items`.
    """

    code = "body_too_large"
    status = 413


class LineTooLarge(BatchlineError):
    """The line is too large.

    Send its rows in several lines.
    """

    code = "line_too_large"
    status = 413


class BodyTimeout(BatchlineError):
    """The body took too long to arrive.

    Send fewer rows per request, or check the connection.
    """

    code = "body_timeout"
    status = 408


class HeadTooLarge(BatchlineError):
    """The head of the request is too large.

    Send fewer or shorter header fields, and a shorter path.
    """

    code = "head_too_large"
    status = 431


class HeadTimeout(BatchlineError):
    """The head of the request took too long to arrive.

    Send the request again. If this repeats, check the connection.
    """

    code = "head_timeout"
    status = 408


class InvalidRequest(BatchlineError):
    """The request is not valid HTTP/1.1.

    Send it with a library for HTTP. Use `http`, not `https`, to reach the API itself.
    """

    code = "invalid_request"
    status = 400


class InvalidIdempotencyKey(BatchlineError):
    """The Idempotency-Key is invalid.

    Use 1 to 255 printable ASCII characters without a space at either end, such as a random UUID.
    """

    code = "invalid_idempotency_key"
    status = 400


class IdempotencyKeyReused(BatchlineError):
    """The Idempotency-Key was used for another request.

    Use a new key for each new request.
    """

    code = "idempotency_key_reused"
    status = 422
